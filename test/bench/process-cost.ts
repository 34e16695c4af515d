/** What a process has cost so far, from /proc: Linux only. */
import { readdirSync, readFileSync } from 'node:fs'

/** CPU time of all threads, microseconds: the scheduler's own count, to the nanosecond. */
export function cpuMicros(pid: number): number {
  let nanos = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanos += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0])
    } catch {
      // A thread that ended meanwhile.
    }
  }
  return nanos / 1000
}

/** Proportional set size, bytes: what the process alone is answerable for. The kernel's socket buffers are not in it. */
export function pssBytes(pid: number): number {
  const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))
  if (!match) throw new Error('no Pss in smaps_rollup')
  return Number(match[1]) * 1024
}
