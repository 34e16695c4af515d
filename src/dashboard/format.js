const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const hundredths = new Intl.NumberFormat('en', { maximumFractionDigits: 2 })
const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit'
})
const dayAndClock = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit'
})

/** Shown for an unknown figure. */
export const NONE = '–'
/** Shown for a latency without any measurement. */
export const NOTHING_MEASURED = 'none in the last minute'

export const count = (n) => (Number.isFinite(n) ? whole.format(n) : NONE)
export const rate = (n) => (Number.isFinite(n) ? (n < 100 ? tenths : whole).format(n) : NONE)
export const milliseconds = (n) => {
  if (!Number.isFinite(n)) return NONE
  if (n >= 10_000) return `${tenths.format(n / 1000)} s`
  return `${(n < 10 ? hundredths : n < 100 ? tenths : whole).format(n)} ms`
}
export const percent = (share) => (Number.isFinite(share) ? `${whole.format(share * 100)} %` : NONE)

export function bytes(n) {
  if (!Number.isFinite(n)) return NONE
  if (n < 1024) return `${whole.format(n)} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = n / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${(value < 10 ? tenths : whole).format(value)} ${units[unit]}`
}

/** A duration in its two largest units. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return NONE
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's']
  ]
  const first = parts.findIndex(([n]) => n > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ')
}

/** The clock time, with the day if that is not today. */
export function time(instant) {
  const date = new Date(instant)
  if (Number.isNaN(date.getTime())) return NONE
  return (date.toDateString() === new Date().toDateString() ? clock : dayAndClock).format(date)
}

/** A number and its noun, singular if the number as written is 1: 1.04 is written as 1. */
export function plural(n, one, many = `${one}s`, write = count) {
  const written = write(n)
  return `${written} ${written === '1' ? one : many}`
}
