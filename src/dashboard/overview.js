import { showAdvice } from './advice.js'
import { createChart } from './charts.js'
import { showClosings } from './closings.js'
import { byId, setText } from './dom.js'
import { showErrors } from './errors.js'
import { showFacts } from './facts.js'
import { duration, milliseconds, rate } from './format.js'
import { showNodes } from './nodes.js'
import { createTiles } from './tiles.js'

const HOUR_MS = 3_600_000

/** The heartbeat lag has a chart beside its figures, and no tile. */
const LAG = {
  title: 'Heartbeat lag',
  format: milliseconds,
  axisFormat: (ms) => `${rate(ms)} ms`,
  least: 10
}
const LAG_LINE = {
  label: 'Heartbeat lag',
  color: '--line-1',
  now: (body) => body.heartbeats.lagMs,
  past: (points) => points.map((point) => point.heartbeatLagMs ?? null)
}

/**
 * Creates everything that shows a body of `/monitor`, which is all but the table of connections.
 */
export function createOverview() {
  const showTiles = createTiles()
  const lag = createChart({ ...LAG, series: [LAG_LINE] })
  byId('lag-chart').append(...lag.elements)

  return (body) => {
    const now = Date.now()
    // The last point is the present, so that the charts move with the figures.
    const points = body.history.filter(({ at }) => Date.parse(at) > now - HOUR_MS)
    const seconds = [...points.map(({ at }) => Date.parse(at) / 1000), now / 1000]
    const dataOf = (lines) => [
      seconds,
      ...lines.map((line) => [...line.past(points), line.now(body) ?? null])
    ]
    showTiles(body, dataOf)
    lag.show(dataOf([LAG_LINE]))
    const spanMs = Math.min(HOUR_MS, now - (points[0] ? Date.parse(points[0].at) : now))
    setText(
      byId('span'),
      spanMs >= HOUR_MS - 10_000 ? 'charts: the last hour' : `charts: the last ${duration(spanMs)}`
    )
    showAdvice(body)
    showErrors(body.errors)
    showClosings(body.connections)
    showFacts(body)
    showNodes(body)
  }
}
