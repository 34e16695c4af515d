import { byId, cell, element, keyed, setText } from './dom.js'
import { facts } from './facts.js'
import { bytes, count, duration, milliseconds, NONE, rate } from './format.js'
import { setTime } from './time-cell.js'

/** The columns of figures that each node reports. */
const NODE_FIGURES = [
  ['Streams', (view) => count(view.connections)],
  ['Users', (view) => count(view.users)],
  ['Publishes/s', (view) => rate(view.publishedPerSecond)],
  ['Frames/s', (view) => rate(view.framesPerSecond)],
  ['Errors/min', (view) => count(view.errorsPerMinute)],
  ['Loop lag', (view) => milliseconds(view.eventLoopLagMs)],
  ['Memory', (view) => bytes(view.rssBytes)]
]

/** A node reports every two seconds: after three missed reports it counts as silent. */
const SILENT_MS = 6000

/** Shows the nodes and their sums, if there are several. */
export function showNodes({ nodes, cluster }) {
  // With one node the rest of the page says it all.
  const several = nodes.length > 1
  document.body.toggleAttribute('data-several', several)
  if (!several) return
  // The first node is the one that answers: it was seen just now by its own clock, and the
  // browser's may be wrong.
  const now = Date.parse(nodes[0].lastSeenAt)
  const views = nodes.map((node) => ({
    ...node,
    silent: now - Date.parse(node.lastSeenAt) > SILENT_MS
  }))
  showAll(cluster, views)
  keyed(
    byId('nodes'),
    views,
    ({ node }) => node,
    ({ node }) =>
      element(
        'tr',
        {},
        element(
          'th',
          { scope: 'row', class: 'id' },
          node,
          node === nodes[0].node ? element('span', { class: 'faint' }, ' this node') : ''
        ),
        cell('Status', {}, element('span', { class: 'badge' })),
        cell('To do', { class: 'codes' }, element('code')),
        ...NODE_FIGURES.map(([label]) => cell(label, { class: 'number nowrap' })),
        cell('Version'),
        cell('Up', { class: 'nowrap' }),
        cell('Last seen', { class: 'nowrap' }, element('time'))
      ),
    (row, view) => {
      const [, state, toDo, ...rest] = row.children
      const [version, up, seen] = rest.slice(NODE_FIGURES.length)
      row.toggleAttribute('data-silent', view.silent)
      const badge = state.firstElementChild
      badge.dataset.state = view.silent ? 'unknown' : view.status
      badge.title = view.silent ? `not reporting; last status: ${view.status}` : ''
      setText(
        badge,
        view.silent ? 'unknown' : view.draining ? `${view.status}, draining` : view.status
      )
      setText(toDo.firstElementChild, view.recommendations?.join(', ') || NONE)
      for (const [n, [, figure]] of NODE_FIGURES.entries()) setText(rest[n], figure(view))
      setText(version, view.version ?? NONE)
      setText(up, duration(view.uptimeSeconds * 1000))
      setTime(seen, view.lastSeenAt)
    }
  )
}

/** The sums of all nodes, and which of them are not healthy. */
function showAll(cluster, views) {
  facts(byId('all'), [
    ['Nodes', count(cluster.nodes)],
    ['Streams', count(cluster.connections)],
    ['Stale', count(cluster.stale)],
    ['Slow', count(cluster.slow)],
    ['Publishes per second', rate(cluster.publishedPerSecond)],
    ['Frames per second', rate(cluster.framesPerSecond)],
    ['Errors per minute', count(cluster.errorsPerMinute)]
  ])
  const bad = views.filter(({ silent, status }) => silent || status !== 'ok')
  byId('all-note').dataset.well = bad.length === 0
  setText(
    byId('all-note'),
    bad.length === 0
      ? 'All nodes are healthy.'
      : `${bad.map(({ node, silent, status }) => `${node} is ${silent ? 'not reporting, and counted with its last figures' : status}`).join('; ')}. See Nodes below.`
  )
}
