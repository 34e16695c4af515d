import { cell, element, setText } from './dom.js'
import { bytes, count, duration } from './format.js'

const WORDS = {
  stale: 'silent for 3 heartbeats',
  blocked: 'not reading; data is buffered',
  replaying: 'receiving missed events',
  live: 'up to date'
}

/** A row of the table of connections. `ask` is called with the row when its button is pressed. */
export function createRow(connection, ask) {
  const button = element('button', { type: 'button', class: 'quiet small' }, 'Close')
  button.addEventListener('click', () => ask(button.closest('tr')))
  return element(
    'tr',
    { title: `connection ${connection.id}` },
    element('th', { scope: 'row', class: 'id' }, connection.user),
    cell('State', {}, element('span', { class: 'badge' })),
    cell('Age', { class: 'number nowrap' }),
    cell('Buffered', { class: 'number nowrap' }),
    cell('Frames', { class: 'number' }),
    cell('Transport', {}, connection.transport),
    cell('Topics', { class: 'id' }),
    cell('Address', { class: 'id' }, connection.remoteAddress ?? ''),
    // A connection id is the name of its node and a number.
    cell('Node', { class: 'several-only' }, connection.id.slice(0, connection.id.lastIndexOf('-'))),
    element('td', { class: 'act' }, button)
  )
}

/** Shows the present figures of the connection. */
export function updateRow(row, connection) {
  const [, state, age, buffered, frames, , topics] = row.children
  const close = row.lastElementChild
  const badge = state.firstElementChild
  delete row.dataset.gone
  row.dataset.age = duration(connection.ageMs)
  badge.dataset.state = connection.state
  badge.title = WORDS[connection.state] ?? ''
  setText(badge, connection.state)
  setText(age, row.dataset.age)
  setText(buffered, bytes(connection.bufferedBytes))
  setText(frames, count(connection.frames))
  setText(topics, connection.topics.join(', '))
  close.firstElementChild.setAttribute(
    'aria-label',
    `Close the stream of ${connection.user}, open for ${row.dataset.age}`
  )
}

/** Shows that the connection of a row that stays for now is no longer open. */
export function markGone(row) {
  row.dataset.gone = ''
  const badge = row.children[1].firstElementChild
  badge.dataset.state = 'gone'
  badge.title = 'no longer open'
  setText(badge, 'gone')
}

/** Whether `markGone` was called for the row. */
export const isGone = (row) => row.dataset.gone !== undefined

/** The connection in words, for a question about it. */
export function describe(row) {
  const [name, , , , , transport, , address] = row.children
  const from = address.textContent ? `, from ${address.textContent}` : ''
  return `User ${name.textContent}, ${transport.textContent}, open for ${row.dataset.age}${from}.`
}
