import { createChart } from './charts.js'
import { byId, element, setText } from './dom.js'
import { bytes, count, milliseconds, NOTHING_MEASURED, plural, rate } from './format.js'

/** Points of history that make a minute. */
const POINTS_A_MINUTE = 6
const SECONDS_A_POINT = 10

/** Problems and how often each happened, the most frequent first. */
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

/**
 * A measured time. If nothing was measured the service sends zeros, which would read as very fast.
 */
const measured = (name) => (points) => points.map((point) => (point.p99 > 0 ? point[name] : null))
const measuredNow =
  (name) =>
  ({ latencyMs: { publishToWrite } }) =>
    publishToWrite.max > 0 ? publishToWrite[name] : null

const TRANSPORTS = { sse: 'SSE', websocket: 'WebSocket', poll: 'polls' }

const single = (title, format, now, past, note, more = {}) => ({
  title,
  format,
  axisFormat: more.axisFormat ?? count,
  least: more.least ?? 4,
  lines: [{ label: title, color: more.color ?? '--line-1', now, past }],
  note
})

/** One row for each tile: its figure, the last hour of it, and the note below. */
const TILES = [
  single(
    'Open streams',
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
        : `no user is connected${nodes.length > 1 ? ' to this node' : ''}`
  ),
  single(
    'Stale',
    count,
    (body) => body.connections.stale,
    levelOf('stale'),
    () => 'clients silent for 3 heartbeats',
    { color: '--line-3' }
  ),
  single(
    'Slow',
    count,
    (body) => body.connections.slow,
    levelOf('slow'),
    () => 'clients that read too slowly',
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
        ...(replayed > 0 ? [`${count(replayed)} repeats`] : [])
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
    ({ errors: { total } }) => `${count(total)} since start`,
    { color: '--line-4' }
  )
]

/** The card of a tile. */
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

/**
 * Creates the tiles; the function it returns shows a body of `/monitor`, whose charts `dataOf`
 * makes of lines.
 */
export function createTiles() {
  const tiles = TILES.map(createTile)
  byId('tiles').append(...tiles.map(({ node }) => node))
  return (body, dataOf) => {
    for (const tile of tiles) tile.show(body, dataOf)
  }
}
