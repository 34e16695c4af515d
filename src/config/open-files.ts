import { readFileSync } from 'node:fs'

/** How many files and sockets this process may have open; undefined where there is no limit, or none that can be read. */
export function openFileLimit(): number | undefined {
  const soft = fromProc() ?? fromReport()
  return soft !== undefined && Number.isSafeInteger(soft) && soft > 0 ? soft : undefined
}

function fromProc(): number | undefined {
  try {
    const match = /^Max open files\s+(\d+|unlimited)/m.exec(
      readFileSync('/proc/self/limits', 'utf8')
    )
    return match ? Number(match[1]) : undefined
  } catch {
    return undefined // not Linux
  }
}

function fromReport(): number | undefined {
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft?: number | string } } }
    | undefined
  const soft = report?.userLimits?.open_files?.soft
  return soft === undefined ? undefined : Number(soft)
}
