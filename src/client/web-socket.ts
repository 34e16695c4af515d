import { frameOf } from './frame.ts'
import type { Transport } from './transport.ts'

/** The same frames as messages. Browsers tell nothing about an upgrade that was refused, so that is an end like any other. */
export const webSocket: Transport = {
  status: 'live',
  async open(api, items, { cursor, hear }, signal) {
    const ticket = await api.ticket?.()
    signal.throwIfAborted()
    const socket = new WebSocket(api.address('socket', { since: cursor(), items, ticket }).replace(/^http/, 'ws'))
    signal.addEventListener('abort', () => socket.close())
    await new Promise<void>((resolve, reject) => {
      socket.onclose = () => resolve()
      socket.onmessage = ({ data }) => {
        try {
          const frame = JSON.parse(data)
          hear(frameOf(frame.event, frame.id, frame.data))
        } catch (error) {
          reject(error)
        }
      }
    })
  }
}
