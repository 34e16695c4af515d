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
/** Why any connection ends. No goodbye reaches a client that is `gone` or `stale`. */
export type CloseReason = GoodbyeReason | 'gone' | 'stale'

/** Why a client is refused a connection now. */
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
  return goodbye(codec, reason, cursor, CLOSE_REASONS[reason].retryMs)
}

/**
 * The only frame for a client that is refused a connection. `cursor` is the one that the client
 * sent, null if it sent none. The delay is never shorter than for `limit`, even for a drain: a
 * refused client must not return within a second.
 */
export function refusalFrame(codec: Codec, reason: Refusal, cursor: string | null): Buffer {
  const { limit, [reason]: rule } = CLOSE_REASONS
  return goodbye(codec, reason, cursor, [limit.retryMs[0], rule.retryMs[1]])
}

function goodbye(
  codec: Codec,
  reason: CloseReason,
  cursor: string | null,
  range: CloseRule['retryMs']
): Buffer {
  const retryMs = range && drawRetryMs(range)
  return codec.frame('goodbye', `{"reason":"${reason}","retryMs":${retryMs}}`, cursor, retryMs)
}
