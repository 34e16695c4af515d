/**
 * The id of an entry in the stream of the log, `seq-sub` in Redis. Events with a seq have `sub` 0;
 * ephemeral events and revocations have none, and count up `sub` after the last seq.
 */
export interface StreamId {
  readonly seq: number
  readonly sub: number
}

/** After every entry: whatever is waited for has been reached. */
export const END_OF_STREAM: StreamId = { seq: Number.POSITIVE_INFINITY, sub: 0 }

/** Reads `seq-sub`. */
export function parseStreamId(text: string): StreamId {
  const dash = text.indexOf('-')
  return { seq: Number(text.slice(0, dash)), sub: Number(text.slice(dash + 1)) }
}

/** Whether `a` comes later in the stream than `b`. */
export const isAfter = (a: StreamId, b: StreamId): boolean =>
  a.seq > b.seq || (a.seq === b.seq && a.sub > b.sub)
