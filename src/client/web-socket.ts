import { askFor } from './token.ts'
import type { Transport } from './transport.ts'

/**
 * The same frames as WebSocket messages. Browsers hide why an upgrade failed, so that is a normal
 * end.
 */
export const webSocket: Transport = {
  status: 'live',
  async open(api, items, { cursor, hear }, signal) {
    const ticket = api.ticket && (await askFor('ticket', api.ticket))
    signal.throwIfAborted()
    const socket = new WebSocket(
      api.address('socket', { since: cursor(), items, ticket }).replace(/^http/, 'ws')
    )
    signal.addEventListener('abort', () => socket.close())
    await new Promise((resolve) => {
      socket.onclose = resolve
      socket.onmessage = ({ data }) => hear(JSON.parse(data))
    })
  }
}
