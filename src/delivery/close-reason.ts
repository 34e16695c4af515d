import type { Codec } from './codec.ts'

/** Why a connection ends, in the words of `goodbye`. */
export type GoodbyeReason =
  | 'drain'
  | 'expired'
  | 'revoked'
  | 'slow'
  | 'limit'
  | 'rotate'
  | 'closed'
  | 'unavailable'
/** The others are ends that no goodbye could reach the client in. */
export type CloseReason = GoodbyeReason | 'gone' | 'stale'

/** Why a client cannot be let in now. */
export type Refusal = Extract<GoodbyeReason, 'drain' | 'limit' | 'unavailable'>

interface CloseRule {
  /**
   * Range of the random delay before the client should return, milliseconds; null: not with this
   * credential.
   */
  readonly retryMs: readonly [number, number] | null
  /** False if the client does not read or is gone. */
  readonly goodbye: boolean
  /** Level of the log line. */
  readonly level: 'debug' | 'info' | 'warn'
}

/** For each reason, what the client should do and how it is logged. */
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
} as const satisfies Record<CloseReason, CloseRule>

/** Delay before a browser's first automatic reconnect, milliseconds. */
export const OPENING_RETRY_MS = [2_000, 5_000] as const

/**
 * A random whole number in the range: clients that lost their connections together must not return
 * together.
 */
export function drawRetryMs([low, high]: readonly [number, number]): number {
  return low + Math.floor(Math.random() * (high - low + 1))
}

/**
 * The last frame of a connection. `cursor` is the last id that the client received, null if it
 * received none.
 */
export function goodbyeFrame(codec: Codec, reason: CloseReason, cursor: string | null): Buffer {
  const range = CLOSE_REASONS[reason].retryMs
  const retryMs = range && drawRetryMs(range)
  return codec.frame('goodbye', `{"reason":"${reason}","retryMs":${retryMs}}`, cursor, retryMs)
}

/**
 * The goodbye for a client that cannot be let in: its `data`, and when to return in milliseconds.
 * That is later than after a connection, even from a drain: nothing changes within a second.
 */
export function goodbyeToRefused(reason: Refusal): {
  readonly data: string
  readonly retryMs: number
} {
  const retryMs = drawRetryMs([CLOSE_REASONS.limit.retryMs[0], CLOSE_REASONS[reason].retryMs[1]])
  return { data: `{"reason":"${reason}","retryMs":${retryMs}}`, retryMs }
}
