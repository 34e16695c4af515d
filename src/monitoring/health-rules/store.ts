import {
  DISK_RESERVE_BYTES,
  DISK_RESERVE_SHARE,
  LASTING_MS,
  STORE_CALM_MS,
  UNDONE_CALM_MS
} from '../../bounds/limits.ts'
import { mib, plural, type Rule, YES } from './rule.ts'

/** A setting that the store itself found to be unsafe; message and action are the store's. */
function storeSetting(code: string): Rule {
  const found = ({ storeWarnings }: Parameters<Rule['level']>[0]) =>
    storeWarnings.find((warning) => warning.code === code)
  return {
    code,
    severity: 'warning',
    level: (inputs) => Number(found(inputs) !== undefined),
    ...YES,
    keepFiringForMs: 0,
    message: (inputs) => found(inputs)?.message ?? 'The setting was corrected.',
    action: (inputs) => found(inputs)?.action ?? 'Nothing to do.'
  }
}

/** Does the store work, and is what it holds safe? */
export const STORE_RULES: readonly Rule[] = [
  {
    code: 'store-failing',
    severity: 'critical',
    level: (v) => Number(!v.storeHealthy || v.storeFailures > 0),
    ...YES,
    keepFiringForMs: STORE_CALM_MS,
    message: (v) => {
      const reason = v.storeReason ? `: ${v.storeReason}` : ''
      if (v.storeFailures > 0)
        return `The store failed ${plural(v.storeFailures, 'request')} in the last ten seconds${reason}.`
      return v.storeHealthy
        ? 'The store failed a moment ago but is working again.'
        : `The store is not working${reason}.`
    },
    action: () =>
      'Check the disk or server of the store, and what Bellwire logged about it. Publishing resumes once the store is working.'
  },
  {
    code: 'events-undone',
    severity: 'critical',
    level: (v) => v.undonePerMinute,
    ...YES,
    keepFiringForMs: UNDONE_CALM_MS,
    message: (v) =>
      `${plural(v.undoneCursors, 'connection')} came back with a cursor that this log never issued or no longer has: events that were delivered are missing.`,
    action: () =>
      'Expected for an hour after you restore an earlier state of the database: these clients received a reset. Otherwise check the disk and how it syncs. A client that makes up cursors looks the same; the log names its user.'
  },
  storeSetting('redis-not-durable'),
  storeSetting('redis-evicts'),
  storeSetting('redis-outdated'),
  {
    code: 'store-nearly-full',
    severity: 'warning',
    level: ({ disk }) =>
      disk
        ? Math.min(DISK_RESERVE_BYTES, disk.totalBytes * DISK_RESERVE_SHARE) /
          Math.max(1, disk.freeBytes)
        : 0,
    firesAt: 1,
    clearsBelow: 0.8,
    message: ({ disk }) =>
      `${mib(disk?.freeBytes ?? 0)} of ${mib(disk?.totalBytes ?? 0)} are free on the store's disk.`,
    action: () =>
      'Free space or enlarge the disk. RETENTION_DAYS and RETENTION_PER_CHANNEL limit how much Bellwire keeps. When the disk is full, publishing answers 507.'
  },
  {
    code: 'store-slow',
    severity: 'warning',
    level: (v) => Math.max(v.publishAckMs, v.commitMs),
    firesAt: 250,
    clearsBelow: 125,
    forMs: LASTING_MS,
    message: (v) =>
      `Half of all publishes take at least ${Math.round(v.publishAckMs)} ms to become durable, half of all commits at least ${Math.round(v.commitMs)} ms.`,
    action: () =>
      'Find out what else writes to this disk. Disks on a network, and shared disks, sync slowly.'
  }
]
