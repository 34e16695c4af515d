import { readFileSync } from 'node:fs'

/** The part of Node's diagnostic report that is read here. */
interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

/**
 * How many files and sockets this process may open; undefined if there is no limit or it cannot be
 * read.
 */
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
  const report: Report | undefined = process.report?.getReport()
  const soft = report?.userLimits?.open_files?.soft
  return soft === undefined ? undefined : Number(soft)
}
