import type { Counts, InboxEvents, Item, ResetReason } from './types.ts'

/** The first page of an inbox; without items if the connection resumes from a cursor. */
export interface Ready {
  readonly user: string
  readonly topics: readonly string[]
  readonly resumed: boolean
  readonly items: readonly Item[]
  readonly counts: Counts
  readonly heartbeatMs: number
}

/**
 * Why a connection ends and when to reconnect: after `retryMs`, or, if null, only with another
 * credential.
 */
export interface Goodbye {
  readonly reason: string
  readonly retryMs: number | null
}

/** What every transport delivers. `id` is the cursor after this frame. */
export type Frame = { readonly id?: string | undefined } & (
  | { readonly event: 'ready'; readonly data: Ready }
  | { readonly event: 'reset'; readonly data: Ready & { readonly reason: ResetReason } }
  | {
      readonly event: 'notification'
      readonly data: InboxEvents['notification'] & { readonly counts?: Counts }
    }
  | { readonly event: 'state'; readonly data: InboxEvents['state'] & { readonly counts?: Counts } }
  | {
      readonly event: 'heartbeat'
      /** `now`: the time by the service's clock, sent by the leading tab. */
      readonly data: { readonly counts?: Counts; readonly now?: number }
    }
  | { readonly event: 'goodbye'; readonly data: Goodbye }
)

/** A frame from its parts. Unknown events of later versions only move the cursor. */
export const frameOf = (event: string, id: string | undefined, data: unknown): Frame =>
  ({ event, id, data }) as Frame
