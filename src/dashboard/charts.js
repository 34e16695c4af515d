import { element, setText } from './dom.js'
import { time } from './format.js'
import uPlot from './uPlot.esm.js'

const HOUR_S = 3600
/** The shortest span of the axis, before there are two points. */
const SHORTEST_S = 1
/** Below this span the clock times under a chart show seconds, which need more room. */
const SECONDS_BELOW_S = 300
const HEIGHT = 96
/** Half the width of a clock time, in pixels. */
const HALF_A_LABEL = 16

const pointers = uPlot.sync('bellwire')
const charts = new Set()
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Coarse ticks: a chart shows the trend, the text has the figures. */
const axes = (format) => [
  {
    stroke: () => color('--faint'),
    font: '11px system-ui, sans-serif',
    size: 22,
    gap: 4,
    space: (_chart, _axis, low, high) => (high - low < SECONDS_BELOW_S ? 64 : 44),
    incrs: [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600],
    grid: { show: false },
    ticks: { show: false },
    // A label at the left edge would overlap the zero of the other axis.
    values: (chart, instants, _axis, _space, step) => {
      const seconds = step < 60 ? { second: '2-digit' } : {}
      return instants.map((at) =>
        chart.valToPos(at, 'x') < HALF_A_LABEL * (step < 60 ? 1.5 : 1)
          ? null
          : new Date(at * 1000).toLocaleTimeString('en-GB', {
              hour: '2-digit',
              minute: '2-digit',
              ...seconds
            })
      )
    }
  },
  {
    stroke: () => color('--faint'),
    font: '11px system-ui, sans-serif',
    size: 44,
    gap: 4,
    space: 30,
    grid: { stroke: () => color('--line'), width: 1 },
    ticks: { show: false },
    values: (_chart, values) => values.map((value) => format(value))
  }
]

/** Values without a known neighbour: no line passes through them, so each is drawn as a point. */
function alone({ data }, n) {
  const values = data[n]
  return values.flatMap((value, at) =>
    value != null && values[at - 1] == null && values[at + 1] == null ? [at] : []
  )
}

/**
 * The time span to show: the last hour, or as much of it as is known, so that a young process fills
 * its charts too.
 */
function hourOf(instants) {
  const now = Date.now() / 1000
  const known = now - (instants[0] ?? now)
  return [now - Math.min(HOUR_S, Math.max(SHORTEST_S, known)), now]
}

const options = ({ series, axisFormat, least }) => ({
  width: 240,
  height: HEIGHT,
  padding: [6, 16, 0, 0],
  legend: { show: false },
  cursor: {
    y: false,
    drag: { x: false, y: false },
    sync: { key: pointers.key },
    points: { size: 7 }
  },
  scales: {
    x: { time: true, range: ({ data }) => hourOf(data[0]) },
    y: { range: (_chart, _low, high) => [0, Math.max(least, (high ?? 0) * 1.1)] }
  },
  axes: axes(axisFormat),
  series: [
    {},
    ...series.map((line) => ({
      label: line.label,
      stroke: () => color(line.color),
      width: 1.75,
      spanGaps: false,
      points: { show: false, filter: alone, size: 4 },
      ...(line.dash ? { dash: line.dash } : { fill: () => `${color(line.color)}22` })
    }))
  ]
})

/** The hour in words: the range of one series, the peak of each of several. */
function summarize([, ...lines], { series, format }) {
  const known = lines.map((values) => values.filter((value) => value != null))
  if (known[0].length === 0) return 'No history yet.'
  if (series.length > 1)
    return `highest ${series.map(({ label }, n) => `${label} ${format(Math.max(0, ...known[n]))}`).join(', ')}`
  const [low, high] = [format(Math.min(...known[0])), format(Math.max(...known[0]))]
  return low === high ? `constant ${low}` : `lowest ${low}, highest ${high}`
}

/** The values of all series at an index, in words. */
const valuesAt = ([, ...lines], index, { series, format }) =>
  series
    .map(({ label }, n) => {
      const value = lines[n][index]
      return `${series.length > 1 ? `${label} ` : ''}${value == null ? 'unknown' : format(value)}`
    })
    .join(', ')

/**
 * A line chart of the last hour. `series` is `[{ label, color, dash? }]`, `format` writes a value,
 * `axisFormat` one on the axis. `least` is the smallest maximum of the scale, so that a flat zero
 * is drawn at the bottom.
 */
export function createChart(look) {
  const box = element('div', { class: 'chart', role: 'img' })
  const reading = element('p', { class: 'reading faint' })
  let summary = ''

  const chart = new uPlot(options(look), [[], ...look.series.map(() => [])], box)
  chart.hooks.setCursor = [read]
  charts.add(chart)

  /** Shows the values under the pointer, otherwise the summary of the hour. */
  function read() {
    const index = chart.cursor.idx
    const instant = chart.data[0][index]
    setText(
      reading,
      instant === undefined
        ? summary
        : `${time(instant * 1000)} · ${valuesAt(chart.data, index, look)}`
    )
  }

  new ResizeObserver(() => {
    if (box.clientWidth > 0) chart.setSize({ width: box.clientWidth, height: HEIGHT })
  }).observe(box)

  return {
    elements: [box, reading],
    /** `data` is `[seconds[], values[], …]`, oldest first; null for an unknown value. */
    show(data) {
      chart.setData(data)
      summary = summarize(data, look)
      const last = data[0].length - 1
      const now = last < 0 ? '' : `, now ${valuesAt(data, last, look)}`
      box.setAttribute('aria-label', `${look.title}, chart: ${summary}${now}`)
      read()
    }
  }
}

// A canvas does not follow the style sheet.
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.redraw(false, true)
})
