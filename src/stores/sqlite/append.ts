import { IDEMPOTENCY_MS } from '../../bounds/limits.ts'
import { type Channel, channelsOf } from '../../log/channel.ts'
import type { Idempotency, Publication } from '../../log/notification.ts'
import type { Collapse, ItemResult } from './commands.ts'
import type { Statement } from './driver.ts'
import { encodeRecipients } from './recipients.ts'
import type { WriteContext } from './write-context.ts'

const NO_COLLAPSE: Collapse = { times: 0, replaces: null }

/** Appends publications. */
export class Append {
  readonly #context: WriteContext
  readonly #findKey: Statement<{ fingerprint: string; id: string; at: number }>
  readonly #putKey: Statement
  readonly #insertNote: Statement
  readonly #insertEntry: Statement
  readonly #findCollapsed: Statement<{
    seq: number
    note: number
    times: number
    exp: number | null
    id: string
  }>

  constructor(context: WriteContext) {
    const { db } = context
    this.#context = context
    this.#findKey = db.prepare('SELECT fingerprint, id, at FROM idem WHERE key = ? AND exp > ?')
    this.#putKey = db.prepare(
      'INSERT OR REPLACE INTO idem (key, fingerprint, id, at, exp) VALUES (?, ?, ?, ?, ?)'
    )
    this.#insertNote = db.prepare(
      'INSERT INTO note (seq, id, recipients, content, at, exp, left_over, producer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    )
    this.#insertEntry = db.prepare(
      'INSERT INTO entry (channel, seq, note, times, key, replaces, replaced, exp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    )
    this.#findCollapsed = db.prepare(
      'SELECT e.seq, e.note, e.times, e.exp, n.id FROM entry e JOIN note n ON n.seq = e.note WHERE e.channel = ? AND e.key = ?'
    )
  }

  publish(item: Publication): ItemResult {
    const { now } = this.#context
    const { idempotency, expiresAt } = item
    const repeated = idempotency && this.#repeated(idempotency)
    if (repeated) return repeated
    if (expiresAt !== undefined && expiresAt <= now) return { kind: 'expired' }
    if (idempotency) {
      const { key, fingerprint } = idempotency
      this.#putKey.run(key, fingerprint, item.id, item.createdAt, now + IDEMPOTENCY_MS)
    }
    return item.ephemeral ? { kind: 'ephemeral' } : this.#append(item)
  }

  /** What a request with an idempotency key that was used before gets. */
  #repeated({ key, fingerprint }: Idempotency): ItemResult | undefined {
    const first = this.#findKey.get(key, this.#context.now)
    if (!first) return undefined
    return first.fingerprint === fingerprint
      ? { kind: 'replayed', id: first.id, createdAt: first.at }
      : { kind: 'key-reused' }
  }

  #append({ id, to, content, key, createdAt, expiresAt, producer }: Publication): ItemResult {
    const context = this.#context
    const exp = expiresAt ?? null
    if (exp !== null && exp < context.nextExpiry) context.nextExpiry = exp
    const channels = channelsOf(to)
    const first = context.nextSeq()
    const recipients = encodeRecipients(to)
    this.#insertNote.run(first, id, recipients, content, createdAt, exp, channels.length, producer)
    const collapses = channels.map((channel) => this.#insert(channel, first, key, exp))
    const replacing = key !== undefined && collapses.some(({ replaces }) => replaces !== null)
    return { kind: 'appended', first, collapses: replacing ? collapses : [] }
  }

  #insert(channel: Channel, note: number, key: string | undefined, exp: number | null): Collapse {
    const context = this.#context
    let collapse = NO_COLLAPSE
    let replaced: number | null = null
    const before = key === undefined ? undefined : this.#findCollapsed.get(channel, key)
    if (before) {
      // An entry that has expired but is not yet removed is not replaced: for clients this one is
      // new.
      if (before.exp === null || before.exp > context.now) {
        collapse = { times: before.times + 1, replaces: before.id }
        replaced = before.seq
      }
      context.retract(channel, before.seq, before.note)
    }
    const { times, replaces } = collapse
    const seq = context.takeSeq()
    this.#insertEntry.run(channel, seq, note, times, key ?? null, replaces, replaced, exp)
    context.entryAdded(channel)
    return collapse
  }
}
