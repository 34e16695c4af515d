import { BellwireError } from './error.ts'
import { frameOf } from './frame.ts'
import type { Transport } from './transport.ts'

/** Close code of a credential that has ended or was revoked. */
const UNAUTHORIZED = 4401

/** The same frames as messages. Browsers tell nothing about an upgrade that was refused. */
export const webSocket: Transport = {
  status: 'live',
  firstMs: 5_000,
  silentMs: (heartbeatMs) => 2.5 * heartbeatMs,
  async open(api, pageSize, listener, signal) {
    const ticket = await api.ticket?.()
    const address = api.address('socket', { since: listener.cursor(), items: pageSize, ticket })
    const socket = new WebSocket(address.replace(/^http/, 'ws'))
    const close = (): void => socket.close()
    signal.addEventListener('abort', close)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.onmessage = ({ data }) => {
          try {
            const { event, id, data: content } = JSON.parse(data)
            if (!signal.aborted) listener.hear(frameOf(event, id, content))
          } catch (error) {
            reject(error)
          }
        }
        socket.onclose = ({ code }) => {
          if (code === UNAUTHORIZED) reject(new BellwireError('unauthenticated', 'the credential has ended', 401))
          else if (code === 1006) reject(new BellwireError('network', 'the socket could not be opened, or was cut'))
          else resolve()
        }
        signal.addEventListener('abort', () => resolve())
        if (signal.aborted) resolve()
      })
    } finally {
      signal.removeEventListener('abort', close)
      socket.close()
    }
  }
}
