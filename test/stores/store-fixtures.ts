import type { FollowedEvent } from '../../src/log/event.ts'
import type { Publication, Recipients } from '../../src/log/notification.ts'
import type { Log, Store } from '../../src/log/store.ts'
import type { StoreOptions } from '../../src/stores/store-options.ts'

let drawn = 0

/** A publication with a unique id; `over` replaces any field. */
export function publication(to: Recipients, over: Partial<Publication> = {}): Publication {
  drawn += 1
  const id = `n${process.pid}x${drawn}`
  return {
    id,
    to,
    content: `"type":"t","level":"info","title":"${id}"`,
    createdAt: Date.now(),
    ephemeral: false,
    producer: 'test',
    ...over
  }
}

/** Options for a store in `dataDir`. */
export const storeOptions = (dataDir: string, over: Partial<StoreOptions> = {}): StoreOptions => ({
  store: 'sqlite',
  dataDir,
  sync: 'full',
  redisPrefix: 'bellwire',
  redisShards: 1,
  redisWaitReplicas: 0,
  retentionDays: 30,
  retentionPerChannel: 1000,
  ...over
})

/** Collects the events of a store, or of one log of it, and can wait for one. */
export class Followed {
  readonly events: FollowedEvent[] = []
  #wake: () => void = () => {}

  constructor(store: Store, only?: Log) {
    store.follow((events, log) => {
      if (only !== undefined && log !== only) return
      this.events.push(...events)
      this.#wake()
    })
  }

  /** Resolves with the first event that matches; earlier events count. */
  async until(wanted: (event: FollowedEvent) => boolean): Promise<FollowedEvent> {
    for (;;) {
      const found = this.events.find(wanted)
      if (found) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/**
 * Publishes a notification that soon expires, and calls `ask` before it does. If the machine was
 * too slow for that, tries again with more time.
 */
export async function publishExpiring<T = undefined>(
  store: Store,
  to: Recipients,
  over: Partial<Publication> = {},
  ask?: (id: string) => Promise<T>
): Promise<{ id: string; expiresAt: number; found: T | undefined }> {
  for (let ms = 300; ; ms *= 2) {
    const expiresAt = Date.now() + ms
    const item = publication(to, { ...over, expiresAt })
    const [outcome] = await store.publish([item])
    if (outcome?.kind !== 'accepted') continue
    const found = await ask?.(item.id)
    if (!ask || Date.now() < expiresAt) return { id: item.id, expiresAt, found }
  }
}

/** Resolves when the clock has passed the instant. */
export async function clockPast(instant: number): Promise<void> {
  while (Date.now() <= instant)
    await new Promise((resolve) => setTimeout(resolve, instant + 1 - Date.now()))
}
