import { createRow } from './row.js'

/** How each status of the inbox is shown. */
const STATUS = {
  live: { text: 'Live', notice: '' },
  polling: {
    text: 'Polling',
    notice: 'Something on the network path blocks streaming, so the page polls.'
  },
  connecting: { text: 'Connecting', notice: '' },
  offline: {
    text: 'Offline',
    notice: 'The service cannot be reached. The list stays; what you mark is sent later.'
  },
  unauthorized: {
    text: 'Signed out',
    notice: 'The credential was rejected, and there is no other.'
  }
}
/** How often relative times are updated. */
const TIMES_MS = 20_000

/** One person's inbox: bell, badge, list and actions. */
export function createPanel(person, inbox) {
  const panel = createElement(person)
  const find = (selector) => panel.querySelector(selector)
  const bell = find('.bell')
  let unread = 0
  /** The error of the last action; empty if it succeeded. */
  let fault = ''
  const attempt = async (action) => {
    fault = ''
    try {
      await action
    } catch (error) {
      fault = `Failed: ${error.message}`
      render()
    }
  }
  const list = createList(find, inbox, attempt)
  const look = createLook(bell, inbox, attempt)

  function render() {
    const { items, counts, hasMore } = inbox.state
    showStatus(find, inbox.state, fault)
    showCounts(find, person.name, counts)
    if (counts.unread > unread) ring(bell)
    unread = counts.unread

    find('.body').hidden = !isOpen(bell)
    find('.read-all').disabled = counts.unread === 0
    find('.archive-all').disabled = items.length === 0
    find('.empty').hidden = items.length > 0
    find('.more').hidden = !hasMore
    list.show(items)
    look()
  }

  bell.addEventListener('click', () => {
    bell.setAttribute('aria-expanded', String(!isOpen(bell)))
    render()
  })
  document.addEventListener('visibilitychange', look)
  find('.read-all').addEventListener('click', () => attempt(inbox.readAll()))
  find('.archive-all').addEventListener('click', () => {
    find('h2').focus()
    void attempt(inbox.archiveAll())
  })

  inbox.subscribe(render)
  render()
  document.querySelector('#people').append(panel)
}

function createElement({ user, name, topics }) {
  const panel = document.querySelector('#panel').content.cloneNode(true).firstElementChild
  const find = (selector) => panel.querySelector(selector)
  panel.dataset.user = user
  panel.setAttribute('aria-labelledby', `name-${user}`)
  Object.assign(find('h2'), { id: `name-${user}`, textContent: name })
  find('.avatar').textContent = name[0]
  find('.topics').textContent = `reads ${topics.join(', ')}`
  find('.body').id = `inbox-${user}`
  find('.bell').setAttribute('aria-controls', `inbox-${user}`)
  return panel
}

const isOpen = (bell) => bell.getAttribute('aria-expanded') === 'true'

/**
 * A user who looks at the list has seen it. Sent once for the newest item, so that a service that
 * refuses gets no endless requests.
 */
function createLook(bell, inbox, attempt) {
  let lookedAt
  return () => {
    const newest = inbox.items[0]?.id
    if (!isOpen(bell) || document.visibilityState !== 'visible') return
    if (inbox.counts.unseen === 0 || newest === lookedAt) return
    lookedAt = newest
    void attempt(inbox.seen())
  }
}

function showStatus(find, { status, error }, fault) {
  const { text, notice } = STATUS[status]
  setText(find('.status'), text)
  find('.status').dataset.status = status
  setText(
    find('.notice'),
    (status === 'unauthorized' && error ? `${notice} ${error.message}` : notice) || fault
  )
}

function showCounts(find, name, { unread, unseen }) {
  const badge = find('.badge')
  setText(badge, unread > 99 ? '99+' : String(unread))
  badge.hidden = unread === 0
  badge.classList.toggle('fresh', unseen > 0)
  find('.bell').setAttribute(
    'aria-label',
    `Notifications for ${name}: ${unread} unread, ${unseen} new`
  )
}

/** The rows of the items, what can be done with each, and the button that loads more. */
function createList(find, inbox, attempt) {
  const list = find('.items')
  const rows = new Map()
  const actions = {
    read: (id) => attempt(inbox.read(id)),
    unread: (id) => attempt(inbox.unread(id)),
    archive(id) {
      // The button with the focus disappears with its row.
      const { element } = rows.get(id)
      const next = element.nextElementSibling ?? element.previousElementSibling
      const focus = next?.querySelector('.archive') ?? find('h2')
      focus.focus()
      void attempt(inbox.archive(id))
    }
  }

  find('.more').addEventListener('click', async ({ currentTarget: more }) => {
    const last = list.lastElementChild
    more.disabled = true
    await attempt(inbox.loadMore())
    more.disabled = false
    // The button may be gone: move the focus to the first new item.
    if (last?.nextElementSibling && document.activeElement === document.body)
      last.nextElementSibling.querySelector('button').focus()
  })
  setInterval(() => {
    for (const row of rows.values()) row.updateTime()
  }, TIMES_MS)

  return {
    /** Rows that stay are not moved, so that none loses the focus. */
    show(items) {
      const kept = new Set(items.map(({ id }) => id))
      for (const [id, { element }] of rows) {
        if (kept.has(id)) continue
        element.remove()
        rows.delete(id)
      }
      let at = list.firstElementChild
      for (const item of items) {
        const row = rows.get(item.id) ?? createRow(item, actions)
        rows.set(item.id, row)
        row.update(item)
        if (row.element === at) at = at.nextElementSibling
        else list.insertBefore(row.element, at)
      }
    }
  }
}

/** Writes a text only if it changed: a screen reader reads each write. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function ring(bell) {
  bell.classList.remove('ring')
  // Without a layout in between, the animation would not restart.
  void bell.offsetWidth
  bell.classList.add('ring')
}
