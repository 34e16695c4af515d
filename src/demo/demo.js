// Two inboxes on the SDK, side by side, and a form that publishes. Your own page needs
// `createInbox`, `subscribe` and the calls behind a few buttons: see panel.js.

import { ask, base } from './backend.js'
import { createPanel } from './panel.js'
import { offerToSend } from './send.js'
import { showToast } from './toasts.js'

/** Enough for twenty notifications sent at once, and their `seen` events. */
const SHOWN_EVENTS = 50

const people = [
  { user: 'alice', name: 'Alice', topics: ['news', 'project:7'] },
  { user: 'bob', name: 'Bob', topics: ['news'] }
]

for (const person of people) {
  const { user, topics } = person
  const inbox = window.Bellwire.createInbox({
    url: base,
    user,
    pageSize: 10,
    token: async () => (await ask('token', { user, topics })).token,
    ticket: async () => (await ask('ticket', { user, topics })).ticket
  })
  createPanel(person, inbox)
  inbox.on('notification', ({ op, item }) => {
    showToast(person, item)
    note(person, op, [item.title ?? item.type, item.body].filter(Boolean).join(': '))
  })
  inbox.on('state', ({ op, ids, upTo }) =>
    note(person, op, ids ? `${ids.length} of them` : `up to ${upTo}`)
  )
  inbox.on('reset', ({ reason }) => note(person, 'reset', reason))
  inbox.on('status', (status) => note(person, 'status', status))
}
offerToSend(people)

/** Adds an event to the list that shows developers what the SDK emits. */
function note({ name }, event, detail) {
  const line = document.createElement('li')
  const what = document.createElement('b')
  what.textContent = event
  line.append(`${new Date().toLocaleTimeString()} ${name} `, what, ` ${detail}`)
  const list = document.querySelector('#events')
  list.prepend(line)
  while (list.childElementCount > SHOWN_EVENTS) list.lastElementChild.remove()
}
