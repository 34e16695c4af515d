const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' })

/** How long ago, in the largest unit that fits. */
function ago(instant) {
  const seconds = (Date.parse(instant) - Date.now()) / 1000
  if (seconds > -45) return 'now'
  for (const [unit, size] of [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60]
  ]) {
    if (-seconds >= size) return words.format(Math.round(seconds / size), unit)
  }
  return words.format(-1, 'minute')
}

/** True for http(s) URLs and paths of this site: not for `javascript:` or `//elsewhere`. */
const isSafe = (url) => /^https?:\/\//i.test(url) || /^\/(?![/\\])/.test(url)

/** The title of an item, or its type if it has none. */
export const titleOf = ({ title, type }) => title ?? type

/** One notification in a list. */
export function createRow({ id }, { read, unread, archive }) {
  const element = document.querySelector('#row').content.cloneNode(true).firstElementChild
  const find = (selector) => element.querySelector(selector)
  const time = find('time')
  element.dataset.id = id
  find('.read').addEventListener('click', () =>
    (element.classList.contains('unread') ? read : unread)(id)
  )
  find('.archive').addEventListener('click', () => archive(id))

  const updateTime = () => {
    time.textContent = ago(time.dateTime)
  }

  function update(item) {
    const isUnread = item.readAt === null
    element.classList.toggle('unread', isUnread)
    element.dataset.level = item.level
    find('.level use').setAttribute('href', `#icon-${item.level}`)
    if (item.url && isSafe(item.url)) find('.title').replaceChildren(link(item, () => read(id)))
    else find('.title').textContent = titleOf(item)
    find('.text').textContent = item.body ?? ''
    find('.text').hidden = !item.body
    find('.level-name').textContent = item.level
    find('.origin').textContent = item.topic ? `topic ${item.topic}` : ''
    find('.times').textContent = item.times > 0 ? `${item.times + 1} times` : ''
    time.dateTime = item.createdAt
    time.title = new Date(item.createdAt).toLocaleString()
    updateTime()
    label(find('.read'), isUnread ? 'Mark as read' : 'Mark as unread', item)
    find('.read use').setAttribute('href', isUnread ? '#icon-read' : '#icon-unread')
    label(find('.archive'), 'Archive', item)
  }

  return { element, update, updateTime }
}

function link(item, read) {
  const anchor = document.createElement('a')
  anchor.textContent = titleOf(item)
  anchor.href = item.url
  anchor.target = '_blank'
  anchor.rel = 'noopener noreferrer'
  anchor.addEventListener('click', read)
  return anchor
}

function label(button, text, item) {
  button.title = text
  button.setAttribute('aria-label', `${text}: ${titleOf(item)}`)
}
