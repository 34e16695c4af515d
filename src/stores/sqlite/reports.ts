import { channelsOf, userChannel } from '../../log/channel.ts'
import { type FollowedEvent, opOf, type StateEvent } from '../../log/event.ts'
import type { Publication } from '../../log/notification.ts'
import type { MarkOutcome, PublishOutcome } from '../../log/store.ts'
import type { Commands, ItemResult, MarkProgress, Recalled, Results } from './commands.ts'

/**
 * What a committed command means: the answer for its caller, and the events it appended, in order.
 */
export interface Report<Outcome> {
  readonly outcome: Outcome
  readonly events: readonly FollowedEvent[]
}

/** The outcomes of publications, in order. */
export function publishReport(
  items: readonly Publication[],
  results: Results['publish']
): Report<readonly PublishOutcome[]> {
  const events: FollowedEvent[] = []
  const outcome = items.map((item, k) => {
    const result = results[k]
    if (!result) throw new RangeError('the writer did not answer for every item')
    if (result.kind === 'ephemeral') pushEphemeral(item, events)
    if (result.kind === 'appended') pushAppended(item, result, events)
    return outcomeOf(item, result)
  })
  return { outcome, events }
}

/** True if there was something to recall. */
export function recallReport({ id, channels, first }: Recalled): Report<boolean> {
  return {
    outcome: channels.length > 0,
    events: channels.map((channel, k) => ({
      kind: 'state',
      op: 'removed',
      channel,
      seq: first + k,
      ids: [id],
      upTo: null
    }))
  }
}

/** The outcome of marking notifications by id. */
export function markReport(
  { user, op }: Pick<Commands['mark'], 'user' | 'op'>,
  { ids, seq }: Results['mark']
): Report<MarkOutcome> {
  const event = stateEvent(user, op, seq, ids, null)
  return { outcome: { affected: ids.length, seq }, events: ids.length > 0 ? [event] : [] }
}

/**
 * The outcome of one step of a mark up to a seq, and where the next step continues. The last step
 * makes the event.
 */
export function markUpToReport(
  { user, op, upTo }: Commands['markUpTo'],
  { affected, seq, next }: Results['markUpTo']
): Report<MarkOutcome & { readonly next: MarkProgress | null }> {
  const event = stateEvent(user, op, seq, null, upTo)
  return {
    outcome: { affected, seq, next },
    events: next === null && affected > 0 ? [event] : []
  }
}

/** True if the user is erased, false if there is more to erase. */
export function eraseReport({ user }: Commands['erase'], seq: Results['erase']): Report<boolean> {
  if (seq === null) return { outcome: false, events: [] }
  return { outcome: true, events: [stateEvent(user, 'removed', seq, null, seq - 1)] }
}

const stateEvent = (
  user: string,
  op: StateEvent['op'],
  seq: number,
  ids: readonly string[] | null,
  upTo: number | null
): StateEvent => ({ kind: 'state', op, channel: userChannel(user), seq, ids, upTo })

function outcomeOf({ id, createdAt }: Publication, result: ItemResult): PublishOutcome {
  switch (result.kind) {
    case 'replayed':
      return { kind: 'replayed', id: result.id, createdAt: result.createdAt }
    case 'key-reused':
    case 'expired':
      return { kind: result.kind }
    default:
      return { kind: 'accepted', id, createdAt }
  }
}

function pushAppended(
  { id, to, content, createdAt, expiresAt }: Publication,
  { first, collapses }: Extract<ItemResult, { kind: 'appended' }>,
  events: FollowedEvent[]
): void {
  let seq = first
  for (const channel of channelsOf(to)) {
    const { times = 0, replaces } = collapses[seq - first] ?? {}
    const entry = { id, seq, content, createdAt, expiresAt, times, replaces: replaces ?? undefined }
    events.push({ kind: 'notification', op: opOf(entry), channel, seq, entry })
    seq++
  }
}

function pushEphemeral(
  { id, to, content, createdAt, expiresAt }: Publication,
  events: FollowedEvent[]
): void {
  const entry = { id, content, createdAt, expiresAt, times: 0 }
  for (const channel of channelsOf(to)) events.push({ kind: 'ephemeral', channel, entry })
}
