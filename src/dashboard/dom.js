export const byId = (id) => document.getElementById(id)

/** An element with attributes and children. Strings become text nodes: nothing that came over the wire is ever markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** A cell that knows what its column is called, for where a phone shows the row as a card. */
export const cell = (label, attributes = {}, ...children) =>
  element('td', { 'data-label': label, ...attributes }, ...children)

/** Writes a text only where it changed, so that a selection or a screen reader in it is left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * Makes the children of `parent` those of `items`, in order. An item that was there keeps its element, and an element
 * that stands right is not moved: moving one would take the focus away.
 */
export function keyed(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]))
  let place = parent.firstElementChild
  for (const item of items) {
    const key = String(keyOf(item))
    let child = before.get(key)
    if (child) before.delete(key)
    else {
      child = create(item)
      child.dataset.key = key
    }
    update(child, item)
    if (child === place) place = place.nextElementSibling
    else parent.insertBefore(child, place)
  }
  for (const child of before.values()) child.remove()
}

/** Says something to who cannot see it change. */
export function announce(text) {
  const node = byId('announcer')
  // The same words twice are no change, and would not be read again.
  node.textContent = node.textContent === text ? `${text}\u00a0` : text
}
