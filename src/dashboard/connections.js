import { announce, byId, cell, element, keyed, setText } from './dom.js'
import { bytes, count, duration, plural } from './format.js'

const REFRESH_MS = 3000
const PAGE = 100
const STATES = ['stale', 'blocked', 'replaying', 'live']
const WORDS = {
  stale: 'silent for 3 heartbeats',
  blocked: 'not reading; data is buffered',
  replaying: 'receiving missed events',
  live: 'up to date'
}
const ORDERS = {
  age: (a, b) => b.ageMs - a.ageMs,
  bufferedBytes: (a, b) => b.bufferedBytes - a.bufferedBytes || b.ageMs - a.ageMs,
  state: (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || b.ageMs - a.ageMs
}

/**
 * The table of open streams. It has its own requests: thousands of rows are too much for every
 * second.
 */
export function createConnections(url) {
  const body = byId('connections')
  const box = byId('connections-box')
  const user = byId('user')
  const sort = byId('sort')
  const more = byId('more')
  let limit = PAGE
  let asked = 0
  let timer
  let live = true

  /**
   * While the operator points at a row or has the focus in one, rows neither move nor disappear.
   */
  const held = () => body.contains(document.activeElement) || body.matches(':hover')

  async function refresh() {
    clearTimeout(timer)
    const turn = ++asked
    const query = new URLSearchParams({ limit: String(limit), sort: sort.value })
    const wanted = user.value.trim()
    if (wanted !== '') query.set('user', wanted)
    try {
      const answer = await fetch(`${url}?${query}`, {
        headers: { accept: 'application/json' },
        cache: 'no-store'
      })
      if (!answer.ok) throw new Error(`the service answered ${answer.status}`)
      const list = await answer.json()
      // An answer that was overtaken belongs to another filter.
      if (turn === asked) show(list, wanted)
    } catch (error) {
      if (turn === asked) say(`Could not load the list: ${error.message}.`)
    }
    if (turn === asked && live) timer = setTimeout(refresh, REFRESH_MS)
  }

  function say(text) {
    setText(byId('connections-count'), text)
  }

  function show({ connections, total }, wanted) {
    const rows = connections.sort(ORDERS[sort.value])
    if (held()) showHeld(rows)
    else keyed(body, rows, ({ id }) => id, createRow, updateRow)
    byId('held').hidden = !held()
    box.hidden = rows.length === 0 && !held()
    byId('connections-empty').hidden = rows.length > 0
    setText(
      byId('connections-empty'),
      wanted === ''
        ? 'No streams are open.'
        : `No open stream belongs to “${wanted}”. Enter the exact id; case matters.`
    )
    say(
      total === 0
        ? ''
        : total > rows.length
          ? `${count(rows.length)} of ${count(total)} shown`
          : plural(total, 'stream')
    )
    more.hidden = total <= rows.length
    for (const head of document.querySelectorAll('th[data-sort]')) {
      if (head.dataset.sort === sort.value)
        head.setAttribute('aria-sort', head.dataset.sort === 'state' ? 'other' : 'descending')
      else head.removeAttribute('aria-sort')
    }
  }

  function showHeld(rows) {
    const now = new Map(rows.map((row) => [row.id, row]))
    for (const row of body.children) {
      const connection = now.get(row.dataset.key)
      if (connection) updateRow(row, connection)
      else markGone(row)
    }
  }

  function createRow(connection) {
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
      cell(
        'Node',
        { class: 'several-only' },
        connection.id.slice(0, connection.id.lastIndexOf('-'))
      ),
      element('td', { class: 'act' }, button)
    )
  }

  function updateRow(row, connection) {
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

  function markGone(row) {
    row.dataset.gone = ''
    const badge = row.children[1].firstElementChild
    badge.dataset.state = 'gone'
    badge.title = 'no longer open'
    setText(badge, 'gone')
  }

  // --- closing a stream, after a confirmation ---

  const dialog = byId('ask')
  let asking

  function ask(row) {
    if (row.dataset.gone !== undefined) return announce('This stream is no longer open.')
    asking = row
    const [name, , , , , transport, , address] = row.children
    setText(
      byId('ask-text'),
      `User ${name.textContent}, ${transport.textContent}, open for ${row.dataset.age}${address.textContent ? `, from ${address.textContent}` : ''}.`
    )
    dialog.showModal()
    byId('ask-no').focus()
  }

  async function closeAsked() {
    const row = asking
    dialog.close()
    const name = row.firstElementChild.textContent
    try {
      const answer = await fetch(`${url}/${encodeURIComponent(row.dataset.key)}`, {
        method: 'DELETE'
      })
      if (answer.status !== 204 && answer.status !== 404)
        throw new Error(`the service answered ${answer.status}`)
      announce(
        answer.status === 204
          ? `The stream of ${name} was closed.`
          : `The stream of ${name} was no longer open.`
      )
      markGone(row)
      // The row disappears: its neighbour gets the focus, rather than the top of the page.
      const next = row.nextElementSibling ?? row.previousElementSibling
      row.remove()
      ;(next?.querySelector('button') ?? byId('connections-title')).focus()
    } catch (error) {
      announce(`The stream of ${name} could not be closed: ${error.message}.`)
      say(`The stream of ${name} could not be closed: ${error.message}.`)
      return
    }
    void refresh()
  }

  byId('ask-no').addEventListener('click', () => dialog.close())
  byId('ask-yes').addEventListener('click', closeAsked)
  byId('filter').addEventListener('submit', (event) => {
    event.preventDefault()
    void refresh()
  })
  for (const control of [user, sort])
    control.addEventListener('input', () => {
      limit = PAGE
      void refresh()
    })
  more.addEventListener('click', () => {
    limit += PAGE
    void refresh()
  })

  return {
    refresh,
    /** Refreshes the list regularly while `yes`. */
    run(yes) {
      live = yes
      clearTimeout(timer)
      if (yes) void refresh()
    }
  }
}
