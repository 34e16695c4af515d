import { byId, element, keyed, setText } from './dom.js'
import { bytes, count, duration, milliseconds, NOTHING_MEASURED, percent } from './format.js'

/** Shows pairs of a name and a text as a list; a pair without a text is skipped. */
export const facts = (list, rows) =>
  keyed(
    list,
    rows.filter(([, text]) => text !== undefined),
    ([name]) => name,
    ([name]) => element('div', {}, element('dt', {}, name), element('dd')),
    (row, [, text]) => setText(row.lastElementChild, text)
  )

/** Latencies of the last minute. */
const spread = ({ p50, p99, max }) =>
  max > 0 ? `p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}` : NOTHING_MEASURED

/** Shows the facts about heartbeats, store and process. */
export function showFacts(body) {
  const { heartbeats, store, process, latencyMs, limits, recommendations } = body
  facts(byId('heartbeats'), [
    ['Interval', duration(heartbeats.intervalMs)],
    ['Sent', count(heartbeats.sent)],
    ['Skipped', `${count(heartbeats.skipped)} (another frame was written)`],
    ['Lag', milliseconds(heartbeats.lagMs)]
  ])
  facts(byId('store'), [
    ['Kind', store.kind],
    [
      'State',
      store.healthy && !recommendations.some(({ code }) => code === 'store-failing')
        ? 'healthy'
        : 'failing'
    ],
    ['Size', store.bytes === undefined ? undefined : bytes(store.bytes)],
    ['Commit latency', store.commitMs === undefined ? undefined : spread(latencyMs.commit)],
    ['Publish latency', spread(latencyMs.publishAck)],
    ['Head', store.head],
    ['Oldest retained', store.oldest],
    ['Epoch', store.epoch],
    ['Shards', store.shards === undefined ? undefined : count(store.shards.length)]
  ])
  facts(byId('process'), [
    ['Node', body.node],
    ['Memory', `${bytes(process.rssBytes)}, heap ${bytes(process.heapBytes)}`],
    ['CPU', percent(process.cpu)],
    ['Event loop lag', milliseconds(process.eventLoopLagMs)],
    ['Open files', process.openFiles === undefined ? undefined : count(process.openFiles)],
    ['Max streams', limits.maxConnections > 0 ? count(limits.maxConnections) : 'no limit'],
    [
      'Max streams per user',
      limits.maxConnectionsPerUser > 0 ? count(limits.maxConnectionsPerUser) : 'no limit'
    ],
    [
      'Max buffer per stream',
      limits.maxBufferedBytes > 0 ? bytes(limits.maxBufferedBytes) : 'no limit'
    ]
  ])
}
