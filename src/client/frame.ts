import type { Counts, InboxEvents, Item, ResetReason } from './types.ts'

/** The page of an inbox; of one that goes on from a place it has no items. */
export interface Ready {
  readonly user: string
  readonly topics: readonly string[]
  readonly resumed: boolean
  readonly items: readonly Item[]
  readonly counts: Counts
  readonly heartbeatMs: number
}

/** Why a connection ends, and when to come back: null, not with the same credential. */
export interface Goodbye {
  readonly reason: string
  readonly retryMs: number | null
}

/** What arrives, by whatever transport. `id` is the cursor that it moves to. */
export type Frame = { readonly id?: string | undefined } & (
  | { readonly event: 'ready'; readonly data: Ready }
  | { readonly event: 'reset'; readonly data: Ready & { readonly reason: ResetReason } }
  | {
      readonly event: 'notification'
      readonly data: InboxEvents['notification'] & { readonly counts?: Counts }
    }
  | { readonly event: 'state'; readonly data: InboxEvents['state'] & { readonly counts?: Counts } }
  | {
      /** `now`: the time by the service's clock, of the tab that leads. */ readonly event: 'heartbeat'
      readonly data: { readonly counts?: Counts; readonly now?: number }
    }
  | { readonly event: 'goodbye'; readonly data: Goodbye }
)

/** A frame from its parts. Events of later versions pass: they move the cursor and change nothing. */
export const frameOf = (event: string, id: string | undefined, data: unknown): Frame =>
  ({ event, id, data }) as Frame
