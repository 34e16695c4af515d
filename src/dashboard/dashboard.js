import { createConnections } from './connections.js'
import { announce, byId, setText } from './dom.js'
import { openFeed } from './feed.js'
import { duration, time } from './format.js'
import { createOverview } from './overview.js'

// Not relative to the document: its address may hold the key (http://me:key@host/monitor), and fetch() refuses such.
const monitor = `${location.origin}${location.pathname}`

const STATUSES = { ok: 'Works', degraded: 'Degraded', critical: 'Critical' }
const CUTS = {
  ended: 'The service ended the stream or cannot be reached. Trying again every two seconds.',
  unanswered: 'The service cannot be reached. Trying again every two seconds.',
  silent:
    'The stream went silent; the network in between may be down. Trying again every two seconds.',
  refused:
    'The operator key is no longer accepted. It may have been changed: reload the page and give the new one.'
}

// A box that scrolls has to be reachable without a pointer; not every browser sees to it.
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
  const state = cut ? 'cut off' : (STATUSES[latest?.status] ?? 'waiting').toLowerCase()
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
          ? 'Live again; the process was started anew.'
          : 'Live again.'
      )
    else if (before && before.status !== body.status) {
      const [gravest] = body.recommendations
      announce(
        `Status: ${STATUSES[body.status] ?? body.status}. ${gravest ? `${gravest.message} ${gravest.action}` : ''}`
      )
    }
  },
  cut(reason) {
    const known = cut
    cut = reason
    const why = CUTS[reason] ?? `The service answers ${reason}. Trying again every two seconds.`
    setText(byId('cut-title'), latest ? 'Cut off: these figures are old.' : 'No figures yet.')
    setText(byId('cut-text'), latest ? `${why} The figures are of ${time(heardAt)}.` : why)
    byId('cut').hidden = false
    // Who glances at the page must not read the last good word as the present one.
    byId('status').dataset.status = 'unknown'
    setText(
      byId('status-text'),
      latest ? `Unknown, was: ${STATUSES[latest.status] ?? latest.status}` : 'Unknown'
    )
    setFeed(
      reason === 'refused' ? 'refused' : 'cut',
      reason === 'refused' ? 'key refused' : 'cut off, reconnecting'
    )
    title()
    connections.run(false)
    // Said once when it begins, and again where the reader has to do something.
    if (!known || (reason === 'refused' && known !== 'refused')) announce(`Cut off. ${why}`)
  }
})

byId('cut-retry').addEventListener('click', () => feed.attempt())

// A page that nobody looks at stays informed, but draws nothing and asks for no list.
document.addEventListener('visibilitychange', () => {
  if (latest && !document.hidden) draw()
  connections.run(!document.hidden && latest !== undefined && cut === undefined)
})
