import { describe, isGone } from './connection-row.js'
import { announce, byId, setText } from './dom.js'

/**
 * Closes streams, after a confirmation. Returns the function that asks about a row of the table.
 * `closed` is called when the stream is closed, `failed` with a sentence when it could not be.
 */
export function createCloseDialog(url, { closed, failed }) {
  const dialog = byId('ask')
  let asking

  async function close() {
    const row = asking
    dialog.close()
    const name = row.firstElementChild.textContent
    try {
      announce(
        (await request(`${url}/${encodeURIComponent(row.dataset.key)}`))
          ? `The stream of ${name} was closed.`
          : `The stream of ${name} was no longer open.`
      )
    } catch (error) {
      const sentence = `The stream of ${name} could not be closed: ${error.message}.`
      announce(sentence)
      return failed(sentence)
    }
    remove(row)
    closed()
  }

  byId('ask-no').addEventListener('click', () => dialog.close())
  byId('ask-yes').addEventListener('click', close)
  return (row) => {
    if (isGone(row)) return announce('This stream is no longer open.')
    asking = row
    setText(byId('ask-text'), describe(row))
    dialog.showModal()
    byId('ask-no').focus()
  }
}

/** Whether the stream was still open; rejects if it may be open now. */
async function request(url) {
  const { status } = await fetch(url, { method: 'DELETE' })
  if (status !== 204 && status !== 404) throw new Error(`the service answered ${status}`)
  return status === 204
}

/** The row disappears: its neighbour gets the focus, rather than the top of the page. */
function remove(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling
  row.remove()
  ;(next?.querySelector('button') ?? byId('connections-title')).focus()
}
