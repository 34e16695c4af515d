import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'

/** CPUs that this process may use. */
export const CPUS = availableParallelism()

/** True if `taskset` can pin the server to one CPU and its clients to another. */
export const PINS = CPUS > 1 && hasTaskset()

/** When and where figures were measured, for the line below a table. */
export function whenAndWhere(): string {
  const model = cpus()[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown CPU'
  return `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${CPUS} CPUs (${model})`
}

/** Keeps this process and its later children away from the CPU of the server, if possible. */
export function leaveCpuToServer(): void {
  if (PINS) execFileSync('taskset', ['-acp', '1', String(process.pid)], { stdio: 'ignore' })
}

/** The limit of open files of this process, and of its children. */
export function openFiles(): number {
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(
    readFileSync('/proc/self/limits', 'utf8')
  )?.[1]
  return limit === undefined || limit === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(limit)
}

/** Replaces what stands in a page between `<!-- NAME -->` and `<!-- /NAME -->`. */
export function writeBlock(file: string, name: string, text: string): void {
  const page = readFileSync(file, 'utf8')
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const from = page.indexOf(start)
  const to = page.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${file} has no block ${start} … ${end}`)
  writeFileSync(file, `${page.slice(0, from + start.length)}\n${text}\n${page.slice(to)}`)
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
