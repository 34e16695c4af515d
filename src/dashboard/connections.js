import { createCloseDialog } from './close-stream.js'
import { createRow, markGone, updateRow } from './connection-row.js'
import { byId, keyed, setText } from './dom.js'
import { count, plural } from './format.js'

const REFRESH_MS = 3000
const PAGE = 100
const STATES = ['stale', 'blocked', 'replaying', 'live']
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
  const user = byId('user')
  const sort = byId('sort')
  const more = byId('more')
  let limit = PAGE
  let asked = 0
  let timer
  let live = true
  const ask = createCloseDialog(url, { closed: () => void refresh(), failed: say })

  async function refresh() {
    clearTimeout(timer)
    const turn = ++asked
    const wanted = user.value.trim()
    try {
      const list = await request(url, { limit, sort: sort.value, ...(wanted && { user: wanted }) })
      // An answer that was overtaken belongs to another filter.
      if (turn === asked) show(list, wanted)
    } catch (error) {
      if (turn === asked) say(`Could not load the list: ${error.message}.`)
    }
    if (turn === asked && live) timer = setTimeout(refresh, REFRESH_MS)
  }

  function show({ connections, total }, wanted) {
    const rows = connections.sort(ORDERS[sort.value])
    showRows(rows, ask)
    showEmpty(rows.length === 0, wanted)
    say(
      total === 0
        ? ''
        : total > rows.length
          ? `${count(rows.length)} of ${count(total)} shown`
          : plural(total, 'stream')
    )
    more.hidden = total <= rows.length
    showOrder(sort.value)
  }

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
    /** Refreshes the list regularly while `yes`. */
    run(yes) {
      live = yes
      clearTimeout(timer)
      if (yes) void refresh()
    }
  }
}

async function request(url, query) {
  const answer = await fetch(`${url}?${new URLSearchParams(query)}`, {
    headers: { accept: 'application/json' },
    cache: 'no-store'
  })
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`)
  return answer.json()
}

const say = (text) => setText(byId('connections-count'), text)

/**
 * While the operator points at a row or has the focus in one, rows neither move nor disappear.
 */
function isHeld() {
  const body = byId('connections')
  return body.contains(document.activeElement) || body.matches(':hover')
}

function showRows(rows, ask) {
  const body = byId('connections')
  const held = isHeld()
  if (held) showHeld(body, rows)
  else
    keyed(
      body,
      rows,
      ({ id }) => id,
      (connection) => createRow(connection, ask),
      updateRow
    )
  byId('held').hidden = !held
  byId('connections-box').hidden = rows.length === 0 && !held
}

function showHeld(body, rows) {
  const now = new Map(rows.map((row) => [row.id, row]))
  for (const row of body.children) {
    const connection = now.get(row.dataset.key)
    if (connection) updateRow(row, connection)
    else markGone(row)
  }
}

function showEmpty(empty, wanted) {
  const note = byId('connections-empty')
  note.hidden = !empty
  setText(
    note,
    wanted === ''
      ? 'No streams are open.'
      : `No open stream belongs to “${wanted}”. Enter the exact id; case matters.`
  )
}

/** Marks the column that the rows are sorted by. */
function showOrder(sort) {
  for (const head of document.querySelectorAll('th[data-sort]')) {
    if (head.dataset.sort === sort)
      head.setAttribute('aria-sort', sort === 'state' ? 'other' : 'descending')
    else head.removeAttribute('aria-sort')
  }
}
