// What a page needs to be told things: a plain EventSource and a list. Everything here uses the public interface only; the two
// addresses below /demo stand for your own login and for a backend that publishes.

const $ = (id) => document.getElementById(id)
const SHOWN_FRAMES = 40
/** A stream that is silent for this many heartbeats is taken for dead: no browser notices by itself. */
const SILENT_HEARTBEATS = 2.5

/** What survives a reload of this tab: who, the page as it is shown, and the cursor it is true for. */
let model = { user: 'alice', cursor: null, items: [], counts: { unread: 0, unseen: 0 } }
let source = null
let heartbeatMs = 15_000
let heartbeats = 0
let watchdog
let retry
let expiry
let attempts = 0

// ---------------------------------------------------------------- session, stream

async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  const answer = await response.json().catch(() => ({}))
  if (!response.ok)
    throw new Error(
      answer.errors?.map((one) => `${one.pointer}: ${one.detail}`).join('; ') || answer.detail || `status ${response.status}`
    )
  return answer
}

/** Signs in and opens the stream at the cursor of what is shown. */
async function start() {
  stop()
  show('reconnecting', 'connecting')
  const user = model.user
  try {
    await post('demo/session', { user })
  } catch {
    return again()
  }
  if (user === model.user) open()
}

function open() {
  stop()
  const since = model.cursor ? `?since=${encodeURIComponent(model.cursor)}` : ''
  const stream = new EventSource(`v1/stream${since}`)
  source = stream
  for (const [name, handle] of Object.entries(handlers)) {
    stream.addEventListener(name, (event) => {
      // A frame of a stream that was replaced meanwhile: the new one brings it.
      if (source !== stream) return
      attempts = 0
      const data = JSON.parse(event.data)
      const before = model.cursor
      if (event.lastEventId) model.cursor = event.lastEventId
      logFrame(name, data)
      handle(data, before)
      if (source === stream) watch()
      save()
      render()
    })
  }
  stream.onerror = () => {
    if (source !== stream) return
    // The browser comes back by itself, with Last-Event-ID, except after a status other than 200.
    if (stream.readyState === EventSource.CLOSED) again()
    else show('reconnecting')
  }
  watch()
}

function stop() {
  clearTimeout(watchdog)
  clearTimeout(retry)
  source?.close()
  source = null
}

/** For what the browser does not do by itself: a new sign-in and a new stream, later and later. */
function again() {
  stop()
  show('reconnecting')
  retry = setTimeout(start, Math.min(30_000, 1000 * 2 ** attempts++) * (0.5 + Math.random() / 2))
}

function watch() {
  clearTimeout(watchdog)
  watchdog = setTimeout(() => {
    show('reconnecting', 'silent, reconnecting')
    open()
  }, heartbeatMs * SILENT_HEARTBEATS)
}

// ---------------------------------------------------------------- the frames

const handlers = {
  ready(data) {
    heartbeatMs = data.heartbeatMs
    if (!data.resumed) model.items = data.items
    model.counts = data.counts
    show('live')
  },
  // What lay between cannot be told exactly: the page in the frame is the truth.
  reset(data) {
    heartbeatMs = data.heartbeatMs
    model.items = data.items
    model.counts = data.counts
    show('live')
  },
  notification({ op, item, counts }) {
    const gone = new Set([item.id, item.replaces])
    const known = model.items.some(({ id }) => id === item.id)
    model.items = [item, ...model.items.filter(({ id }) => !gone.has(id))]
    if (counts) model.counts = counts
    else if (op === 'created' && item.cursor && !known)
      model.counts = { unread: model.counts.unread + 1, unseen: model.counts.unseen + 1 }
    $('announcer').textContent = `${item.level}: ${item.title ?? item.type}`
  },
  state({ op, ids, upTo, counts }, before) {
    if (counts) model.counts = counts
    const reached = ids ? new Set(ids) : reachedBy(upTo, before)
    // An erased inbox, or a place we do not know: the page is the service's to tell.
    if (!reached || (op === 'removed' && !ids)) return void refresh()
    model.items = model.items.flatMap((item) => (reached.has(item.id) ? (marks[op](item) ?? []) : item))
  },
  heartbeat({ counts }) {
    heartbeats++
    if (counts) model.counts = counts
  },
  goodbye({ reason }) {
    if (reason === 'expired') return void start()
    if (reason === 'revoked') {
      stop()
      return show('closed', 'signed out by the service: choose who you are')
    }
    show('reconnecting', `reconnecting (${reason})`)
  }
}

/** What an operation leaves of an item; undefined: nothing. */
const marks = {
  read: (item) => ({ ...item, readAt: item.readAt ?? new Date().toISOString(), seen: true }),
  unread: (item) => ({ ...item, readAt: null }),
  seen: (item) => ({ ...item, seen: true }),
  archived: () => undefined,
  removed: () => undefined
}

/** The items up to a cursor. Cursors are opaque, so it is looked for, not compared; null where it is none of ours. */
function reachedBy(upTo, before) {
  const kept = model.items.filter((item) => item.cursor)
  const at = upTo === before ? 0 : kept.findIndex(({ cursor }) => cursor === upTo)
  return at < 0 ? null : new Set(kept.slice(at).map(({ id }) => id))
}

/** Takes the page from the inbox, which names the cursor it is true for, and goes on from there. */
async function refresh() {
  const page = await inbox('')
  if (!page) return again()
  model.items = page.items
  model.counts = page.counts
  model.cursor = page.cursor
  save()
  render()
  open()
}

async function inbox(query) {
  try {
    const response = await fetch(`v1/inbox?limit=25${query}`)
    return response.ok ? await response.json() : null
  } catch {
    return null
  }
}

// ---------------------------------------------------------------- what is shown

function show(state, text = state) {
  $('state').dataset.state = state
  if ($('state-text').textContent !== text) $('state-text').textContent = text
}

function el(tag, className, text) {
  const node = document.createElement(tag)
  if (className) node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

/** Only http(s) and paths of this site: never `javascript:`, never `//elsewhere`. */
const isSafeUrl = (url) => /^https?:\/\//i.test(url) || /^\/(?![/\\])/.test(url)

function render() {
  const { counts } = model
  const now = Date.now()
  model.items = model.items.filter((item) => !item.expiresAt || Date.parse(item.expiresAt) > now)
  const expiries = model.items.filter((item) => item.expiresAt).map((item) => Date.parse(item.expiresAt))
  clearTimeout(expiry)
  if (expiries.length) expiry = setTimeout(render, Math.min(...expiries, now + 86_400_000) - now + 10)

  const bell = $('bell')
  bell.setAttribute('aria-label', `${counts.unread || 'No'} unread notifications, ${counts.unseen} new. Mark all as seen.`)
  bell.classList.toggle('fresh', counts.unseen > 0)
  $('badge').hidden = counts.unread === 0
  $('badge').textContent = counts.unread > 99 ? '99+' : String(counts.unread)
  document.title = counts.unread ? `(${counts.unread}) Bellwire demo` : 'Bellwire demo'
  $('read-all').disabled = counts.unread === 0
  $('empty').hidden = model.items.length > 0
  $('older').hidden = model.items.length < 25
  $('cursor').textContent = model.cursor ?? 'none'
  $('heartbeats').textContent = String(heartbeats)
  if ($('user').value !== model.user) $('user').value = model.user

  const focus = document.activeElement?.dataset?.focus
  $('list').replaceChildren(...model.items.map(row))
  if (focus)
    $('list')
      .querySelector(`[data-focus="${CSS.escape(focus)}"]`)
      ?.focus()
}

function row(item) {
  const unread = item.readAt === null && item.cursor !== null
  const node = el('li', unread ? 'item unread' : 'item')
  node.dataset.level = item.level
  const title = el('p', 'title')
  const name = item.title ?? item.type
  if (item.url && isSafeUrl(item.url)) {
    const link = el('a', '', name)
    link.href = item.url
    link.rel = 'noopener noreferrer'
    link.target = '_blank'
    title.append(link)
  } else title.textContent = name
  node.append(title)
  if (item.body) node.append(el('p', 'text', item.body))
  const meta = el('p', 'meta')
  meta.append(el('span', 'level', item.level))
  const time = el('time', '', new Date(item.createdAt).toLocaleTimeString())
  time.dateTime = item.createdAt
  meta.append(' · ', time)
  if (item.topic) meta.append(` · topic ${item.topic}`)
  if (item.times) meta.append(` · ${item.times + 1} times`)
  if (!item.cursor) meta.append(' · not kept')
  node.append(meta)
  if (item.cursor) {
    const actions = el('div', 'actions')
    actions.append(
      action(item, unread ? 'Read' : 'Unread', unread ? 'read' : 'unread', unread ? 'Mark as read' : 'Mark as unread'),
      action(item, 'Archive', 'archive', 'Archive')
    )
    node.append(actions)
  }
  return node
}

function action(item, label, op, description) {
  const button = el('button', 'quiet', label)
  button.type = 'button'
  button.dataset.focus = `${item.id}/${op === 'archive' ? 'archive' : 'mark'}`
  button.setAttribute('aria-label', `${description}: ${item.title ?? item.type}`)
  // The change comes back as a state event, on this and every other page of the user.
  button.addEventListener('click', () => mark(op, { ids: [item.id] }))
  return button
}

async function mark(op, target) {
  try {
    await post(`v1/inbox/${op}`, target)
  } catch (error) {
    $('result').textContent = `That did not work: ${error.message}`
  }
}

function logFrame(name, data) {
  if (name === 'heartbeat' && !data.counts) return
  const line = el('li')
  line.append(el('b', '', name), ` ${JSON.stringify(data).slice(0, 300)}`)
  const list = $('frames')
  list.prepend(line)
  while (list.children.length > SHOWN_FRAMES) list.lastChild.remove()
}

// ---------------------------------------------------------------- what survives a reload

function save() {
  try {
    const items = model.items.filter((item) => item.cursor).slice(0, 100)
    sessionStorage.setItem('bellwire-demo', JSON.stringify({ ...model, items }))
  } catch {
    // A private window without storage: a reload then starts afresh, with the page that `ready` brings.
  }
}

function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem('bellwire-demo'))
    if (kept?.user && Array.isArray(kept.items) && kept.counts) model = kept
  } catch {
    // As above.
  }
}

// ---------------------------------------------------------------- what the visitor does

$('user').addEventListener('change', (event) => {
  model = { user: event.target.value, cursor: null, items: [], counts: { unread: 0, unseen: 0 } }
  save()
  render()
  start()
})

$('bell').addEventListener('click', () => {
  $('inbox-title').focus()
  $('inbox-title').scrollIntoView({ block: 'center' })
  if (model.cursor && model.counts.unseen) mark('seen', { upTo: model.cursor })
})

$('read-all').addEventListener('click', () => model.cursor && mark('read', { upTo: model.cursor }))

$('older').addEventListener('click', async () => {
  const oldest = model.items.findLast((item) => item.cursor)
  const page = oldest && (await inbox(`&before=${encodeURIComponent(oldest.cursor)}`))
  if (!page) return
  const known = new Set(model.items.map(({ id }) => id))
  model.items = [...model.items, ...page.items.filter(({ id }) => !known.has(id))]
  save()
  render()
  $('older').hidden = page.next === null
})

$('form').addEventListener('submit', async (event) => {
  event.preventDefault()
  const form = new FormData(event.target)
  const to = form.get('to')
  const text = (name) => form.get(name).trim() || undefined
  const recipients =
    to === 'me' ? { user: model.user } : to === 'everyone' ? { everyone: true } : { topic: to.slice('topic:'.length) }
  try {
    const { id } = await post('demo/publish', {
      to: recipients,
      type: 'demo',
      level: form.get('level'),
      title: text('title'),
      body: text('body'),
      url: text('url'),
      key: text('key'),
      ephemeral: form.get('ephemeral') === 'on' || undefined
    })
    $('result').textContent = `Accepted as ${id}.`
  } catch (error) {
    $('result').textContent = `Refused: ${error.message}`
  }
})

// A page that slept, changed networks or comes out of the back-forward cache may hold a stream that is dead and does not know it.
addEventListener('online', () => source && open())
addEventListener('pageshow', (event) => event.persisted && start())

load()
render()
start()
