import { titleOf } from './row.js'

const SHOWN_MS = 6_000
/** More toasts at a time would cover the page. */
const MAX_SHOWN = 3

/** Shows a new notification for a while, and has a screen reader announce it once. */
export function showToast({ user, name }, item) {
  const list = document.querySelector('#toasts')
  const toast = document.querySelector('#toast').content.cloneNode(true).firstElementChild
  const find = (selector) => toast.querySelector(selector)
  toast.dataset.level = item.level
  toast.dataset.user = user
  find('.level use').setAttribute('href', `#icon-${item.level}`)
  find('.meta').textContent = `${name} · ${item.topic ? `topic ${item.topic}` : item.level}`
  find('.title').textContent = titleOf(item)
  find('.text').textContent = item.body ?? ''
  find('.text').hidden = !item.body
  find('button').setAttribute('aria-label', `Dismiss: ${titleOf(item)}`)

  let timer
  const dismiss = () => {
    clearTimeout(timer)
    toast.remove()
  }
  // A toast under the pointer or with the focus stays.
  const stay = () => clearTimeout(timer)
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(dismiss, SHOWN_MS)
  }
  for (const event of ['pointerenter', 'focusin']) toast.addEventListener(event, stay)
  for (const event of ['pointerleave', 'focusout']) toast.addEventListener(event, wait)
  find('button').addEventListener('click', dismiss)
  toast.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') dismiss()
  })
  list.prepend(toast)
  while (list.childElementCount > MAX_SHOWN) list.lastElementChild.remove()
  wait()

  document.querySelector('#announcer').textContent = `${name}: ${item.level}, ${titleOf(item)}`
}
