import type { ClientState } from './client-state.ts'
import type { Codec } from './codec.ts'
import type { EncodedEvent } from './encoded-event.ts'

/** Limits of one answer. */
export interface AnswerLimits {
  /** Maximum number of log events. */
  readonly events: number
  /** The frame that exceeds it is the last one. */
  readonly bytes: number
}

/** Frames, and the events that are left. */
export interface Encoded {
  readonly frames: Buffer[]
  /**
   * Events that were not encoded: there was no room, or only the store knows the counts after the
   * first of them.
   */
  readonly rest: readonly EncodedEvent[]
  /** True if there was no room for the rest. */
  readonly isFull: boolean
}

/**
 * Encodes live events for one client, in order. Events that it has received are skipped. With
 * `answer`, the frames must fit into one answer. After some shared events only the store knows the
 * counts: without `answer` the next heartbeat carries them; with it, such an event is left over.
 */
export function encodeLive(
  events: readonly EncodedEvent[],
  codec: Codec,
  client: ClientState,
  answer?: AnswerLimits
): Encoded {
  const frames: Buffer[] = []
  let logged = 0
  let bytes = 0
  for (const [i, event] of events.entries()) {
    if (answer && (logged === answer.events || bytes > answer.bytes))
      return { frames, rest: events.slice(i), isFull: true }
    const { seq, created, personal } = event
    if (seq !== undefined && seq <= client.seq) continue
    // A new notification adds one to both counts, and an ephemeral one changes neither.
    const countsFollow = created || seq === undefined
    const needsStore = personal ? !client.countsKnown || !countsFollow : answer && !countsFollow
    if (needsStore) return { frames, rest: events.slice(i), isFull: false }
    const frame = encodeOne(event, codec, client)
    bytes += frame.length
    frames.push(frame)
    if (seq !== undefined) logged++
  }
  return { frames, rest: [], isFull: false }
}

function encodeOne(event: EncodedEvent, codec: Codec, client: ClientState): Buffer {
  const { seq, personal } = event
  if (seq === undefined)
    return event.frameAt(codec, client.sentCursor, personal ? client.counts : null)
  if (event.created) client.addCreated(1)
  else client.invalidateCounts()
  client.sentUpTo(seq)
  return personal ? event.personalFrame(codec, client.counts) : event.frame(codec)
}
