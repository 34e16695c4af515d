import { ask } from './backend.js'

/** Examples of what a notification can be. */
const PRESETS = [
  {
    label: 'Comment',
    notification: {
      type: 'comment',
      title: 'Carol commented on your draft',
      body: '“Looks good, ship it.”',
      url: '/documentation'
    }
  },
  {
    label: 'Deployed',
    notification: {
      type: 'deploy.finished',
      level: 'success',
      title: 'Version 2.4 is live',
      body: 'It took 71 seconds.'
    }
  },
  {
    label: 'Disk fills up',
    notification: {
      type: 'disk.filling',
      level: 'warning',
      title: 'The disk is 91 % full',
      body: 'Send it again: it replaces itself.',
      key: 'disk'
    }
  },
  {
    label: 'Build failed',
    notification: {
      type: 'build.failed',
      level: 'error',
      title: 'Build 42 failed',
      body: '3 of 918 tests are red.'
    }
  },
  {
    label: 'For a minute',
    notification: {
      type: 'offer',
      title: 'Gone in a minute',
      body: 'Then it leaves every list and count.',
      ttl: 60
    }
  },
  {
    label: 'Hostile text',
    notification: {
      type: 'hostile',
      level: 'warning',
      title: '<img src=x onerror="alert(1)"> is only text',
      body: '<script>alert(2)</script>\n\u202Eso is this\u202C, and a line of its own'
    }
  },
  { label: 'Twenty', times: 20, notification: { type: 'many', title: 'One of twenty' } }
]

/** The form that publishes, and its examples. */
export function offerToSend(people) {
  const form = document.querySelector('#send')
  const result = document.querySelector('#result')
  // On a narrow screen the inboxes are below the form, so it starts collapsed.
  document.querySelector('#own').open = matchMedia('(min-width: 58rem)').matches
  const recipients = [
    ...people.map(({ user, name }) => ({ label: name, to: { user } })),
    ...[...new Set(people.flatMap(({ topics }) => topics))].map((topic) => {
      const readers = people.filter(({ topics }) => topics.includes(topic)).map(({ name }) => name)
      return { label: `Topic ${topic} (${readers.join(' and ')})`, to: { topic } }
    }),
    { label: 'Everyone', to: { everyone: true } }
  ]
  const select = form.elements.to
  select.append(...recipients.map(({ label }, index) => new Option(label, String(index))))

  async function send(notification, times = 1) {
    const { label, to } = recipients[Number(select.value)]
    const began = performance.now()
    try {
      for (let n = 1; n <= times; n++) {
        const numbered = times > 1 ? { ...notification, body: `Number ${n}.` } : notification
        await ask('publish', { to, ...numbered })
      }
      const took = Math.round(performance.now() - began)
      // The whole round trip from the browser; writing to disk is only a part of it.
      result.textContent =
        times > 1
          ? `Sent ${times} to ${label}, one after another. Round trip: ${Math.round(took / times)} ms each, ${took} ms in all.`
          : `Sent to ${label}. Round trip: ${took} ms.`
      result.classList.remove('bad')
    } catch (error) {
      result.textContent = `Not sent: ${error.message}.`
      result.classList.add('bad')
    }
  }

  for (const { label, times, notification } of PRESETS) {
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'chip'
    button.dataset.level = notification.level ?? 'info'
    button.textContent = label
    button.addEventListener('click', () => send(notification, times))
    document.querySelector('#presets').append(button)
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const fields = new FormData(form)
    const notification = {
      type: 'demo',
      level: fields.get('level'),
      ephemeral: fields.has('ephemeral')
    }
    for (const name of ['title', 'body', 'url', 'key'])
      if (fields.get(name)) notification[name] = fields.get(name)
    void send(notification)
  })
}
