import { LASTING_MS } from '../../bounds/limits.ts'
import { plural, type Rule, YES } from './rule.ts'

/** Is the process itself well, and does its host give it what it needs? */
export const PROCESS_RULES: readonly Rule[] = [
  {
    code: 'errors',
    severity: 'warning',
    level: (v) => v.errorsPerMinute,
    firesAt: 30,
    clearsBelow: 10,
    message: (v) =>
      v.errorsPerMinute === 0
        ? 'There were many errors; none in the last minute.'
        : `${plural(v.errorsPerMinute, 'error')} in the last minute${v.lastErrorCode ? `, the last one: ${v.lastErrorCode}` : ''}.`,
    action: () =>
      'See errors.byCode for the codes, since when, and the last message of each; the log has the request ids.'
  },
  {
    code: 'heartbeat-lag',
    severity: 'warning',
    level: (v) => v.heartbeatLagMs,
    firesAt: 2000,
    clearsBelow: 500,
    message: (v) =>
      `The process stood still for more than 2 s; heartbeats are now ${Math.round(v.heartbeatLagMs)} ms late.`,
    action: () =>
      'Check whether the host is short of CPU or memory, or the container has too small a CPU quota.'
  },
  {
    code: 'event-loop-lag',
    severity: 'warning',
    level: (v) => v.eventLoopLagMs,
    firesAt: 100,
    clearsBelow: 50,
    forMs: LASTING_MS,
    message: (v) => `The event loop is ${Math.round(v.eventLoopLagMs)} ms late on average.`,
    action: () => 'Give the process more CPU, or spread users over more processes.'
  },
  {
    code: 'open-files',
    severity: 'warning',
    level: ({ openFiles, openFileLimit }) =>
      openFiles !== undefined && openFileLimit ? openFiles / openFileLimit : 0,
    firesAt: 0.9,
    clearsBelow: 0.8,
    message: (v) => `${v.openFiles} of ${v.openFileLimit} file descriptors are in use.`,
    action: () =>
      'Raise the open-file limit (ulimit -n, LimitNOFILE). At the limit nobody can connect, not even an operator.'
  },
  {
    code: 'draining',
    severity: 'info',
    level: (v) => Number(v.draining),
    ...YES,
    message: () => 'The process is shutting down and accepts no new streams.',
    action: () =>
      'No action needed: clients reconnect to another process, or to this one after it restarts.'
  }
]
