import { element, setText } from './dom.js'
import { duration, NONE, time } from './format.js'

/** A cell for an instant: its clock time, and how long ago it was as a tooltip. */
export const timeCell = () => element('td', { class: 'nowrap' }, element('time'))

/** Fills such a cell; `instant` is an ISO time, or null. */
export function setTime(cell, instant) {
  const node = cell.firstElementChild
  setText(node, instant ? time(instant) : NONE)
  if (instant) {
    node.dateTime = instant
    node.title = `${duration(Date.now() - Date.parse(instant))} ago`
  }
}
