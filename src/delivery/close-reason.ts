import type { Codec } from './codec.ts'

/** What a connection's end means: the words of `goodbye`, then those that no goodbye can reach the peer for. */
export type GoodbyeReason =
  | 'drain'
  | 'expired'
  | 'revoked'
  | 'slow'
  | 'limit'
  | 'rotate'
  | 'closed'
  | 'unavailable'
export type CloseReason = GoodbyeReason | 'gone' | 'stale'

/** Why a client cannot be let in now. */
export type Refusal = Extract<GoodbyeReason, 'drain' | 'limit' | 'unavailable'>

interface Row {
  /** Range of the random delay before the peer should come back, milliseconds; null: not with the same credential. */
  readonly retryMs: readonly [number, number] | null
  /** Whether a goodbye is written; a peer that does not read, or is gone, gets none. */
  readonly goodbye: boolean
  /** Log level of the line about it. */
  readonly level: 'debug' | 'info' | 'warn'
}

/** One row a reason: what the client should do, and how loud we are about it. */
export const CLOSE_REASONS = {
  drain: { retryMs: [1_000, 10_000], goodbye: true, level: 'info' },
  expired: { retryMs: null, goodbye: true, level: 'info' },
  revoked: { retryMs: null, goodbye: true, level: 'info' },
  slow: { retryMs: [1_000, 3_000], goodbye: false, level: 'warn' },
  limit: { retryMs: [5_000, 30_000], goodbye: true, level: 'warn' },
  rotate: { retryMs: [1_000, 3_000], goodbye: true, level: 'info' },
  closed: { retryMs: [1_000, 3_000], goodbye: true, level: 'info' },
  unavailable: { retryMs: [5_000, 30_000], goodbye: true, level: 'warn' },
  gone: { retryMs: [1_000, 3_000], goodbye: false, level: 'info' },
  stale: { retryMs: [1_000, 3_000], goodbye: false, level: 'info' }
} as const satisfies Record<CloseReason, Row>

/** Delay before a browser's first automatic reconnect. */
export const OPENING_RETRY_MS = [2_000, 5_000] as const

/** A whole number in the range, drawn anew each time: peers that fell together must not return together. */
export function drawRetryMs([low, high]: readonly [number, number]): number {
  return low + Math.floor(Math.random() * (high - low + 1))
}

/** The delay to tell a peer that is closed for this reason, or null where it must not come back as it is. */
export function retryMsFor(reason: CloseReason): number | null {
  const range = CLOSE_REASONS[reason].retryMs
  return range && drawRetryMs(range)
}

/** The last frame of a connection. */
export function goodbyeFrame(codec: Codec, reason: CloseReason, cursor: string | null): Buffer {
  const retryMs = retryMsFor(reason)
  return codec.frame('goodbye', `{"reason":"${reason}","retryMs":${retryMs}}`, cursor, retryMs)
}

/** What a peer is told that cannot be let in now. It comes back late, even from a drain: nothing changes within a second. */
export function goodbyeToRefused(reason: Refusal): {
  readonly data: string
  readonly retryMs: number
} {
  const retryMs = drawRetryMs([CLOSE_REASONS.limit.retryMs[0], CLOSE_REASONS[reason].retryMs[1]])
  return { data: `{"reason":"${reason}","retryMs":${retryMs}}`, retryMs }
}
