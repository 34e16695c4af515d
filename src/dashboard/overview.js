import { createChart } from './charts.js'
import { byId, cell, element, keyed, setText } from './dom.js'
import {
  bytes,
  count,
  duration,
  milliseconds,
  NONE,
  percent,
  plural,
  rate,
  time
} from './format.js'

/** Points of history that make a minute. */
const POINTS_A_MINUTE = 6
const SECONDS_A_POINT = 10

/** Problems and how often each was met, the commonest first. */
const problems = (by = {}) =>
  Object.entries(by)
    .sort(([, a], [, b]) => b - a)
    .map(([problem, n]) => `${count(n)} ${problem}`)
    .join(', ')

const levelOf = (name) => (points) => points.map((point) => point[name] ?? null)
const perSecond = (name) => (points) => points.map((point) => (point[name] ?? 0) / SECONDS_A_POINT)
const lastMinute = (name) => (points) =>
  points.map((_, n) =>
    points
      .slice(Math.max(0, n - POINTS_A_MINUTE + 1), n + 1)
      .reduce((sum, point) => sum + (point[name] ?? 0), 0)
  )

/** A time that was measured; where nothing was, zeros come, which would read as very fast. */
const measured = (name) => (points) => points.map((point) => (point.p99 > 0 ? point[name] : null))
const measuredNow =
  (name) =>
  ({ latencyMs: { publishToWrite } }) =>
    publishToWrite.max > 0 ? publishToWrite[name] : null
const NOTHING_MEASURED = 'none in the last minute'

const single = (title, format, now, past, note, more = {}) => ({
  title,
  format,
  axisFormat: more.axisFormat ?? count,
  least: more.least ?? 4,
  lines: [{ label: title, color: more.color ?? '--line-1', now, past }],
  note
})

/** Figure, its hour, and the words beneath: one row a tile. */
const TILES = [
  single(
    'Streams open',
    count,
    (body) => body.connections.active,
    levelOf('active'),
    ({ connections: { peak, byTransport, bufferedBytes } }) =>
      [
        `peak ${count(peak)}`,
        ...Object.entries(byTransport ?? {})
          .filter(([, n]) => n > 0)
          .map(([transport, n]) => `${count(n)} ${TRANSPORTS[transport] ?? transport}`),
        ...(bufferedBytes > 0 ? [`${bytes(bufferedBytes)} buffered`] : [])
      ].join(' · ')
  ),
  single(
    'Users',
    count,
    (body) => body.connections.users,
    levelOf('users'),
    ({ connections: { active, users }, nodes }) =>
      users > 0
        ? plural(active / users, 'stream each', 'streams each', rate)
        : `nobody is connected${nodes.length > 1 ? ' to this node' : ''}`
  ),
  single(
    'Stale',
    count,
    (body) => body.connections.stale,
    levelOf('stale'),
    () => 'peers silent for 3 heartbeats',
    { color: '--line-3' }
  ),
  single(
    'Slow',
    count,
    (body) => body.connections.slow,
    levelOf('slow'),
    () => 'readers behind with their data',
    { color: '--line-3' }
  ),
  single(
    'Publishes per second',
    rate,
    (body) => body.publish.perSecond,
    perSecond('published'),
    ({ publish: { accepted, rejected, rejectedBy, replayed } }) =>
      [
        `${count(accepted)} accepted`,
        ...(rejected > 0 ? [`${count(rejected)} rejected (${problems(rejectedBy)})`] : []),
        ...(replayed > 0 ? [`${count(replayed)} repeated`] : [])
      ].join(' · '),
    { axisFormat: rate, least: 1 }
  ),
  single(
    'Frames per second',
    rate,
    (body) => body.deliveries.perSecond,
    perSecond('frames'),
    ({ deliveries: { frames, resets } }) =>
      [`${count(frames)} written`, ...(resets > 0 ? [plural(resets, 'reset')] : [])].join(' · '),
    { axisFormat: rate, least: 1 }
  ),
  {
    title: 'Publish to write',
    format: milliseconds,
    axisFormat: (ms) => (ms >= 1000 ? `${rate(ms / 1000)} s` : `${rate(ms)} ms`),
    least: 2,
    lines: [
      { label: 'p50', color: '--line-1', now: measuredNow('p50'), past: measured('p50') },
      {
        label: 'p99',
        color: '--line-2',
        dash: [5, 3],
        now: measuredNow('p99'),
        past: measured('p99')
      }
    ],
    note: ({ latencyMs: { publishToWrite } }) =>
      publishToWrite.max > 0 ? `slowest ${milliseconds(publishToWrite.max)}` : NOTHING_MEASURED
  },
  single(
    'Errors per minute',
    count,
    (body) => body.errors.perMinute,
    lastMinute('errors'),
    ({ errors: { total } }) => `${count(total)} since the start`,
    { color: '--line-4' }
  )
]

const LAG = single(
  'Heartbeat lag',
  milliseconds,
  (body) => body.heartbeats.lagMs,
  levelOf('heartbeatLagMs'),
  undefined,
  {
    axisFormat: (ms) => `${rate(ms)} ms`,
    least: 10
  }
)

const TRANSPORTS = { sse: 'SSE', websocket: 'WebSocket', poll: 'polls' }

/** What an end means, in words; a reason that is not here is shown by its name alone. */
const REASONS = {
  gone: 'the client left',
  closed: 'closed by an operator',
  drain: 'the process was stopping',
  expired: 'the credential ran out',
  revoked: 'the user was revoked',
  rotate: 'reached its greatest age',
  slow: 'did not read fast enough',
  stale: 'the peer vanished',
  limit: 'over a connection limit',
  unavailable: 'the store or the look-up failed'
}

/** Everything on the page that follows from one body of `/monitor`, but the table of connections. */
export function createOverview() {
  const tiles = TILES.map(createTile)
  byId('tiles').append(...tiles.map(({ node }) => node))
  const lag = createChart({ ...LAG, series: LAG.lines })
  byId('lag-chart').append(...lag.elements)

  return (body) => {
    const now = Date.now()
    // The newest point is now, so that the charts move with the figures.
    const points = body.history.filter(({ at }) => Date.parse(at) > now - 3_600_000)
    const seconds = [...points.map(({ at }) => Date.parse(at) / 1000), now / 1000]
    const dataOf = (lines) => [
      seconds,
      ...lines.map((line) => [...line.past(points), line.now(body) ?? null])
    ]
    for (const tile of tiles) tile.show(body, dataOf)
    lag.show(dataOf(LAG.lines))
    const spanMs = Math.min(3_600_000, now - (points[0] ? Date.parse(points[0].at) : now))
    setText(
      byId('span'),
      spanMs >= 3_590_000 ? 'charts: the last hour' : `charts: the last ${duration(spanMs)}`
    )
    showAdvice(body)
    showErrors(body.errors)
    showClosings(body.connections)
    showFacts(body)
    showNodes(body)
  }
}

function createTile(tile) {
  const figures = tile.lines.map(() => element('span', { class: 'figure' }))
  const note = element('p', { class: 'note faint' })
  const chart = createChart({ ...tile, series: tile.lines })
  const heading = element(
    'h3',
    {},
    tile.title,
    element('span', { class: 'several-only' }, ' · this node')
  )
  const values = element('p', { class: 'figures' })
  for (const [n, line] of tile.lines.entries()) {
    const key = element('span', { class: `key ${line.dash ? 'dashed' : 'solid'}` }, line.label)
    values.append(
      tile.lines.length > 1 ? element('span', { class: 'keyed' }, key, ' ', figures[n]) : figures[n]
    )
  }
  const node = element('article', { class: 'card tile' }, heading, values, note, ...chart.elements)
  return {
    node,
    show(body, dataOf) {
      for (const [n, line] of tile.lines.entries()) setText(figures[n], tile.format(line.now(body)))
      setText(note, tile.note(body))
      chart.show(dataOf(tile.lines))
    }
  }
}

const SEVERITIES = { critical: 'Critical', warning: 'Warning', info: 'For your information' }

function showAdvice({ recommendations }) {
  keyed(
    byId('advice'),
    recommendations,
    ({ code }) => code,
    () =>
      element(
        'li',
        { class: 'card' },
        element('p', { class: 'meta' }, element('strong'), element('span', { class: 'faint' })),
        element('p', { class: 'message' }),
        element('p', { class: 'action' })
      ),
    (node, { code, severity, message, action, since }) => {
      node.dataset.severity = severity
      const [label, detail] = node.firstElementChild.children
      setText(label, SEVERITIES[severity] ?? severity)
      setText(detail, since ? `${code} · since ${time(since)}` : code)
      setText(node.children[1], message)
      setText(node.children[2], action)
    }
  )
  const empty = byId('advice-empty')
  empty.hidden = recommendations.length > 0
  setText(empty, 'Nothing. Every check passes.')
}

/** A cell with an instant: the clock, and how long ago in its title. */
const timeCell = () => element('td', { class: 'nowrap' }, element('time'))
function setTime(cell, instant) {
  const node = cell.firstElementChild
  setText(node, instant ? time(instant) : NONE)
  if (instant) {
    node.dateTime = instant
    node.title = `${duration(Date.now() - Date.parse(instant))} ago`
  }
}

function showErrors({ total, byCode, recent }) {
  // The latest on top: what goes on now is what one came for.
  const rows = Object.entries(byCode).sort(
    ([, a], [, b]) => Date.parse(b.lastAt) - Date.parse(a.lastAt)
  )
  keyed(
    byId('errors'),
    rows,
    ([code]) => code,
    ([code]) =>
      element(
        'tr',
        {},
        element('th', { scope: 'row' }, element('code', {}, code)),
        element('td', { class: 'number' }),
        timeCell(),
        timeCell(),
        element('td', { class: 'words' })
      ),
    (row, [, { count: n, firstAt, lastAt, lastMessage }]) => {
      const [, times, first, last, message] = row.children
      setText(times, count(n))
      setTime(first, firstAt)
      setTime(last, lastAt)
      setText(message, lastMessage)
    }
  )
  byId('errors-box').hidden = rows.length === 0
  byId('errors-empty').hidden = rows.length > 0
  byId('recent-box').hidden = recent.length === 0
  setText(byId('errors-total'), rows.length > 0 ? `${count(total)} in all` : '')
  if (!byId('recent-box').open) return
  const seen = new Map()
  const latest = [...recent].reverse().map((error) => {
    // Several may share an instant; the count among their like tells them apart.
    const key = `${error.at} ${error.code} ${error.message} ${error.connection ?? ''}`
    seen.set(key, (seen.get(key) ?? 0) + 1)
    return { ...error, key: `${key} ${seen.get(key)}` }
  })
  keyed(
    byId('recent'),
    latest,
    ({ key }) => key,
    ({ at, code, message, connection }) =>
      element(
        'li',
        {},
        element('time', { datetime: at }, time(at)),
        ' ',
        element('code', {}, code),
        ` ${message}`,
        ...(connection ? [element('span', { class: 'faint' }, ` (connection ${connection})`)] : [])
      ),
    () => {}
  )
}

function showReasons(list, reasons) {
  const rows = Object.entries(reasons ?? {}).sort(([, a], [, b]) => b - a)
  const most = rows[0]?.[1] ?? 0
  keyed(
    list,
    rows,
    ([reason]) => reason,
    ([reason]) =>
      element(
        'li',
        {},
        element(
          'span',
          { class: 'reason' },
          element('code', {}, reason),
          ` ${REASONS[reason] ?? ''}`
        ),
        element('span', { class: 'number' }),
        element('meter', { min: '0', 'aria-hidden': 'true' })
      ),
    (row, [, n]) => {
      const [, figure, meter] = row.children
      setText(figure, count(n))
      meter.max = most
      meter.value = n
    }
  )
  return rows.reduce((sum, [, n]) => sum + n, 0)
}

function showClosings({ closed, refused, opened }) {
  const total = showReasons(byId('closings'), closed)
  byId('closings-empty').hidden = total > 0
  setText(byId('closings-total'), opened > 0 ? `${count(total)} of ${count(opened)} opened` : '')
  byId('refusals-box').hidden = showReasons(byId('refusals'), refused) === 0
}

const facts = (list, rows) =>
  keyed(
    list,
    rows.filter(([, text]) => text !== undefined),
    ([name]) => name,
    ([name]) => element('div', {}, element('dt', {}, name), element('dd')),
    (row, [, text]) => setText(row.lastElementChild, text)
  )

/** Of the last minute; a store or an hour without any has none. */
const spread = ({ p50, p99, max }) =>
  max > 0 ? `p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}` : NOTHING_MEASURED

function showFacts(body) {
  const { heartbeats, store, process, latencyMs, limits, recommendations } = body
  facts(byId('heartbeats'), [
    ['Every', duration(heartbeats.intervalMs)],
    ['Sent', count(heartbeats.sent)],
    ['Left out', `${count(heartbeats.skipped)} (a frame was written instead)`],
    ['Lag', milliseconds(heartbeats.lagMs)]
  ])
  facts(byId('store'), [
    ['Kind', store.kind],
    [
      'State',
      store.healthy && !recommendations.some(({ code }) => code === 'store-failing')
        ? 'works'
        : 'fails'
    ],
    ['Size', store.bytes === undefined ? undefined : bytes(store.bytes)],
    ['Commit', store.commitMs === undefined ? undefined : spread(latencyMs.commit)],
    ['Acknowledged in', spread(latencyMs.publishAck)],
    ['Head', store.head],
    ['Oldest kept', store.oldest],
    ['Epoch', store.epoch],
    ['Shards', store.shards === undefined ? undefined : count(store.shards.length)]
  ])
  facts(byId('process'), [
    ['Node', body.node],
    ['Memory', `${bytes(process.rssBytes)}, heap ${bytes(process.heapBytes)}`],
    ['CPU', percent(process.cpu)],
    ['Event loop lag', milliseconds(process.eventLoopLagMs)],
    ['Open files', process.openFiles === undefined ? undefined : count(process.openFiles)],
    ['Streams at most', limits.maxConnections > 0 ? count(limits.maxConnections) : 'no limit'],
    [
      'Streams per user',
      limits.maxConnectionsPerUser > 0 ? count(limits.maxConnectionsPerUser) : 'no limit'
    ],
    ['Buffer per stream', limits.maxBufferedBytes > 0 ? bytes(limits.maxBufferedBytes) : 'no limit']
  ])
}

/** Three beats, after which a node that lives would have told of itself. */
const SILENT_MS = 6000

function showNodes({ nodes, cluster }) {
  // One node is what the rest of the page is about.
  const several = nodes.length > 1
  document.body.toggleAttribute('data-several', several)
  if (!several) return
  // The node that answers comes first, and was seen now by its own clock; the reader's may be wrong.
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
      badge.title = view.silent ? `has told nothing for a while; was ${view.status}` : ''
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

/** What a node tells of itself in numbers, as columns. */
const NODE_FIGURES = [
  ['Streams', (view) => count(view.connections)],
  ['Users', (view) => count(view.users)],
  ['Publishes/s', (view) => rate(view.publishedPerSecond)],
  ['Frames/s', (view) => rate(view.framesPerSecond)],
  ['Errors/min', (view) => count(view.errorsPerMinute)],
  ['Loop lag', (view) => milliseconds(view.eventLoopLagMs)],
  ['Memory', (view) => bytes(view.rssBytes)]
]

/** The sums of all nodes, and which of them is not well: the rest of the page is about one only. */
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
      ? 'All of them work.'
      : `${bad.map(({ node, silent, status }) => `${node} is ${silent ? 'silent, and counted as it was' : status}`).join('; ')}. See Nodes, below.`
  )
}
