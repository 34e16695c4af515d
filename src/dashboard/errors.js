import { byId, element, keyed, setText } from './dom.js'
import { count, time } from './format.js'
import { setTime, timeCell } from './time-cell.js'

/** Shows the errors by code, and the latest one by one if that list is open. */
export function showErrors({ total, byCode, recent }) {
  // The latest first: operators come for what is happening now.
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
  setText(byId('errors-total'), rows.length > 0 ? `${count(total)} total` : '')
  if (!byId('recent-box').open) return
  const seen = new Map()
  const latest = [...recent].reverse().map((error) => {
    // Equal errors may share an instant: a running number keeps their keys apart.
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
