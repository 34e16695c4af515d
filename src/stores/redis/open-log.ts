import { randomBytes } from 'node:crypto'
import type { RedisConnection } from './client.ts'
import { momentOr, ReplyReader } from './replies.ts'
import { SCRIPTS } from './scripts.ts'
import { parseStreamId, type StreamId } from './stream-id.ts'

/** How the log is found or created. */
export interface OpenLogArgs {
  /** See `logArgs`. */
  readonly logArgs: readonly string[]
  /** Newest seq that the caller has followed or was promised; null if it knows none. */
  readonly knownSeq: number | null
  /** Number of shards that the caller is set to. */
  readonly shards: number
  /** Whether to create the log if it is missing. */
  readonly mayBegin: boolean
}

/** The state of the log when it was opened. */
export interface OpenedLog {
  readonly epoch: string
  /** The newest entry of the stream. */
  readonly end: StreamId
  /** Lowest seq that a client can resume at. */
  readonly floor: number
  /** When the next entry expires, in milliseconds since 1970; infinite if none does. */
  readonly nextExpiry: number
}

/** The log was created with another number of shards. */
export class ShardMismatch extends Error {}

/** The first shard has no log yet, and no other shard may get one before it. */
export class LogNotBegun extends Error {}

/**
 * Finds the log or begins it. Gives it a new epoch if it no longer holds what the caller knows of.
 * Rejects with {@link ShardMismatch} and {@link LogNotBegun}.
 */
export async function openLog(
  connection: RedisConnection,
  { logArgs, knownSeq, shards, mayBegin }: OpenLogArgs
): Promise<OpenedLog> {
  const freshEpoch = `r${randomBytes(5).toString('hex').slice(0, 9)}`
  const own = [freshEpoch, String(knownSeq ?? ''), String(shards), mayBegin ? '1' : '']
  const reply = await SCRIPTS.open.run(connection, [...logArgs, ...own]).catch((error: unknown) => {
    throw openErrorOf(error)
  })
  const values = new ReplyReader(reply)
  const end = parseStreamId(values.text())
  const epoch = values.text()
  const floor = values.skip().number()
  return { epoch, end, floor, nextExpiry: momentOr(Number.POSITIVE_INFINITY, values.text()) }
}

function openErrorOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const [, code, text] = /^(SHARDS|UNBEGUN) (.*)$/s.exec(error.message) ?? []
  if (code === 'SHARDS') return new ShardMismatch(text)
  return code === 'UNBEGUN' ? new LogNotBegun(text) : error
}
