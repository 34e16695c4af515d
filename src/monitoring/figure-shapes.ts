import type { NodeView } from '../cluster/cluster.ts'
import { formatCursor } from '../log/cursor.ts'
import { iso } from '../log/iso.ts'
import type { Log } from '../log/store.ts'

/** To one decimal. */
export const round = (value: number): number => Math.round(value * 10) / 10
export const sum = (values: readonly number[]): number =>
  values.reduce((total, one) => total + one, 0)

export const headOf = ({ epoch, head }: Log): string => formatCursor(epoch, head)
export const oldestOf = ({ epoch, oldest }: Log): string => formatCursor(epoch, oldest)
export const shardOf = (log: Log) => ({
  epoch: log.epoch,
  head: headOf(log),
  oldest: oldestOf(log),
  healthy: log.healthy
})

export const nodeOf = ({
  node,
  report: { status, connections, ...rest },
  lastSeenAt
}: NodeView) => ({
  node,
  status,
  connections,
  lastSeenAt: iso(lastSeenAt),
  ...rest
})

/** The figures of all nodes together. */
export function totalsOf(nodes: readonly NodeView[]) {
  const total = (of: (report: NodeView['report']) => number): number =>
    round(sum(nodes.map(({ report }) => of(report))))
  return {
    nodes: nodes.length,
    connections: total((report) => report.connections),
    stale: total((report) => report.stale),
    slow: total((report) => report.slow),
    publishedPerSecond: total((report) => report.publishedPerSecond),
    framesPerSecond: total((report) => report.framesPerSecond),
    errorsPerMinute: total((report) => report.errorsPerMinute)
  }
}
