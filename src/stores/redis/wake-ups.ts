import { isReady, type RedisClients } from './client.ts'
import type { RedisKeys } from './keys.ts'
import { channelRefusal } from './redis-errors.ts'
import { parseStreamId, type StreamId } from './stream-id.ts'

/** Sent to test the permission: before every entry, so that no node has anything to read. */
const NOTHING_NEW = '0-0'

/** Receives wake-ups. */
export interface WakeUpListener {
  /** The stream has grown at least to this id. */
  onWake(id: StreamId): void
  /** Wake-ups arrive from now on, or Redis refuses them: read what came before. */
  onListening(): Promise<void>
  /** Why Redis refuses wake-ups; once until the reason changes. */
  onRefused(reason: string): void
}

/**
 * Pub/Sub messages that say the log has grown. A lost one delays events but loses none, because
 * every node also reads the log at intervals.
 */
export class WakeUps {
  readonly #clients: RedisClients
  readonly #keys: RedisKeys
  readonly #listener: WakeUpListener
  readonly #sharded: boolean
  #refusal: string | null = null
  /** True from the moment wake-ups can be sent and received until the connection is lost. */
  #received = false
  #listening: Promise<void> | null = null
  #closed = false

  constructor(clients: RedisClients, keys: RedisKeys, listener: WakeUpListener) {
    this.#clients = clients
    this.#keys = keys
    this.#listener = listener
    this.#sharded = clients.kind === 'cluster'
    const { subscriber } = clients
    subscriber.on('ready', () => void this.listen())
    subscriber.on('close', () => {
      this.#received = false
    })
    subscriber.on(this.#sharded ? 'smessage' : 'message', (_channel: string, id: string) =>
      listener.onWake(parseStreamId(id))
    )
  }

  /** Why Redis refuses wake-ups to this process, for an operator; null if it does not. */
  get refusal(): string | null {
    return this.#refusal
  }

  /** Subscribes again if wake-ups do not arrive. */
  retry(): void {
    if (!this.#received) void this.listen()
  }

  /** Subscribes to wake-ups and sends one. Concurrent calls share one attempt. */
  listen(): Promise<void> {
    this.#listening ??= this.#listenOnce().finally(() => {
      this.#listening = null
    })
    return this.#listening
  }

  close(): void {
    this.#closed = true
  }

  async #listenOnce(): Promise<void> {
    const { commands, subscriber } = this.#clients
    if (this.#closed || !isReady(subscriber)) return
    const { wake, prefix } = this.#keys
    try {
      await (this.#sharded ? subscriber.ssubscribe(wake) : subscriber.subscribe(wake))
      if (!isReady(commands)) return
      // The scripts do the same, and cannot report that it is forbidden.
      await (this.#sharded
        ? commands.spublish(wake, NOTHING_NEW)
        : commands.publish(wake, NOTHING_NEW))
      this.#refusal = null
      this.#received = isReady(subscriber)
    } catch (error) {
      // A connection that broke reports that itself, and reconnects.
      if (this.#closed || !(error instanceof Error) || error.name !== 'ReplyError') return
      const refusal = channelRefusal(error, prefix)
      if (refusal !== this.#refusal) this.#listener.onRefused(refusal)
      this.#refusal = refusal
    }
    await this.#listener.onListening()
  }
}
