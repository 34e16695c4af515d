/** What a process has used so far, from /proc: Linux only. */
import { readdirSync, readFileSync } from 'node:fs'

/** CPU time of all threads, microseconds: the scheduler's own count, to the nanosecond. */
export function cpuMicros(pid: number): number {
  let nanos = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanos += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0])
    } catch {
      // The thread has ended meanwhile.
    }
  }
  return nanos / 1000
}

/**
 * Proportional set size in bytes: memory of this process alone, without the kernel's socket
 * buffers.
 */
export function pssBytes(pid: number): number {
  const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))
  if (!match) throw new Error('no Pss in smaps_rollup')
  return Number(match[1]) * 1024
}
