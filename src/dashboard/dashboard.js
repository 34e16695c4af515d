import { createConnections } from './connections.js'
import { announce, byId, setText } from './dom.js'
import { openFeed } from './feed.js'
import { duration, time } from './format.js'
import { createOverview } from './overview.js'

// Not relative to the document: its URL may contain the key (http://me:key@host/monitor), which
// fetch() refuses.
const monitor = `${location.origin}${location.pathname}`

const STATUSES = { ok: 'Healthy', degraded: 'Degraded', critical: 'Critical' }
const CUTS = {
  ended: 'The service ended the stream or cannot be reached. Retrying every two seconds.',
  unanswered: 'The service cannot be reached. Retrying every two seconds.',
  silent: 'The stream went silent; the network may be down. Retrying every two seconds.',
  refused:
    'The operator key is no longer accepted. It may have been changed: reload the page and enter the new key.'
}

// A box that scrolls must be reachable by keyboard, which not every browser ensures.
for (const box of document.querySelectorAll('.scroll, .recent')) box.tabIndex = 0

const show = createOverview()
const connections = createConnections(`${monitor}/connections`)
let latest
let heardAt
let cut

function draw() {
  show(latest)
  const { status, version, node, uptimeSeconds } = latest
  byId('status').dataset.status = status
  setText(byId('status-text'), STATUSES[status] ?? status)
  setText(byId('about'), `${version} · ${node} · up ${duration(uptimeSeconds * 1000)}`)
}

function setFeed(state, text) {
  document.body.dataset.feed = state
  setText(byId('feed-text'), text)
}

function title() {
  const state = cut ? 'disconnected' : (STATUSES[latest?.status] ?? 'waiting').toLowerCase()
  document.title = `${state} · Bellwire monitor`
}

const feed = openFeed(`${monitor}/stream`, monitor, {
  stats(body) {
    const before = latest
    latest = body
    heardAt = Date.now()
    const back = cut !== undefined
    cut = undefined
    byId('cut').hidden = true
    setFeed('live', 'live')
    title()
    if (!document.hidden) draw()
    if (!before || back) connections.run(!document.hidden)
    if (back)
      announce(
        before && before.node !== body.node
          ? 'Live again; the process has restarted.'
          : 'Live again.'
      )
    else if (before && before.status !== body.status) {
      const [worst] = body.recommendations
      announce(
        `Status: ${STATUSES[body.status] ?? body.status}. ${worst ? `${worst.message} ${worst.action}` : ''}`
      )
    }
  },
  cut(reason) {
    const known = cut
    cut = reason
    const why = CUTS[reason] ?? `The service answers ${reason}. Retrying every two seconds.`
    setText(
      byId('cut-title'),
      latest ? 'Disconnected: these figures are out of date.' : 'No figures yet.'
    )
    setText(byId('cut-text'), latest ? `${why} The figures are from ${time(heardAt)}.` : why)
    byId('cut').hidden = false
    // A glance at the page must not take the last known status for the present one.
    byId('status').dataset.status = 'unknown'
    setText(
      byId('status-text'),
      latest ? `Unknown, was: ${STATUSES[latest.status] ?? latest.status}` : 'Unknown'
    )
    setFeed(
      reason === 'refused' ? 'refused' : 'cut',
      reason === 'refused' ? 'key rejected' : 'disconnected, retrying'
    )
    title()
    connections.run(false)
    // Announced once when it begins, and again if the operator has to act.
    if (!known || (reason === 'refused' && known !== 'refused')) announce(`Disconnected. ${why}`)
  }
})

byId('cut-retry').addEventListener('click', () => feed.attempt())

// A hidden page keeps its stream, but draws nothing and requests no list.
document.addEventListener('visibilitychange', () => {
  if (latest && !document.hidden) draw()
  connections.run(!document.hidden && latest !== undefined && cut === undefined)
})
