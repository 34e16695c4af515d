/** The element with an id. */
export const byId = (id) => document.getElementById(id)

/** An element with attributes and children. Strings become text nodes, never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** A cell that carries the name of its column: a narrow screen shows the row as a card. */
export const cell = (label, attributes = {}, ...children) =>
  element('td', { 'data-label': label, ...attributes }, ...children)

/** Writes a text only if it changed, so that selections and screen readers are not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * Makes the children of `parent` match `items`, in order. An item that was there keeps its element.
 * An element at the right position is not moved, because it would lose the focus.
 */
export function keyed(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]))
  let next = parent.firstElementChild
  for (const item of items) {
    const key = String(keyOf(item))
    let child = before.get(key)
    if (child) before.delete(key)
    else {
      child = create(item)
      child.dataset.key = key
    }
    update(child, item)
    if (child === next) next = next.nextElementSibling
    else parent.insertBefore(child, next)
  }
  for (const child of before.values()) child.remove()
}

/** Has a screen reader say something. */
export function announce(text) {
  const node = byId('announcer')
  // A screen reader ignores a text that does not change, so a repeated one gets a space.
  node.textContent = node.textContent === text ? `${text}\u00a0` : text
}
