import { askFor } from './token.ts'
import type { Transport } from './transport.ts'

/** The same frames as messages. Browsers tell nothing about an upgrade that was refused, so that is an end like any other. */
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
