import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'tap'
import type { Frame } from '../../src/client/frame.ts'
import { frameOf } from '../../src/client/frame.ts'
import type { Counts, Item } from '../../src/client/index.ts'
import {
  apply as applyAt,
  isFresh,
  type Mark,
  mark,
  type Page,
  pageOf
} from '../../src/client/page.ts'

interface Entry {
  readonly id: string
  readonly seq: number
  readonly shared: boolean
  readonly key: string | undefined
  read: boolean
  seen: boolean
  archived: boolean
}

/** The simplest model of a service: a list of entries, and the frames due to one subscriber. */
class Model {
  seq = 0
  entries: Entry[] = []
  readonly frames: Frame[] = []

  get counts(): Counts {
    const left = this.entries.filter(({ archived }) => !archived)
    return {
      unread: left.filter(({ read }) => !read).length,
      unseen: left.filter(({ seen }) => !seen).length
    }
  }

  get shown(): string[] {
    return this.entries
      .filter(({ archived }) => !archived)
      .sort((a, b) => b.seq - a.seq)
      .map(({ id, read, seen }) => `${id}${read ? ' read' : ''}${seen ? ' seen' : ''}`)
  }

  #send(event: 'notification' | 'state', data: object, shared: boolean): void {
    this.frames.push(
      frameOf(event, `e-${this.seq}`, shared ? data : { ...data, counts: this.counts })
    )
  }

  publish(shared: boolean, key: string | undefined): void {
    const seq = ++this.seq
    const old =
      key === undefined
        ? undefined
        : this.entries.find((one) => one.key === key && one.shared === shared)
    this.entries = this.entries.filter((one) => one !== old)
    this.entries.push({
      id: `i${seq}`,
      seq,
      shared,
      key,
      read: false,
      seen: false,
      archived: false
    })
    const item = {
      id: `i${seq}`,
      cursor: `e-${seq}`,
      readAt: null,
      seen: false,
      ...(old && { replaces: old.id })
    }
    this.#send('notification', { op: old ? 'updated' : 'created', item }, shared)
  }

  recall(nth: number): void {
    const entry = this.entries[nth % this.entries.length]
    if (!entry) return
    this.seq++
    this.entries = this.entries.filter((one) => one !== entry)
    this.#send('state', { op: 'removed', ids: [entry.id], upTo: null }, entry.shared)
  }

  mark(op: 'read' | 'unread' | 'archived' | 'seen', nth: number, upTo: boolean): void {
    const last = this.entries[nth % this.entries.length]
    if (!last || (upTo && op === 'unread') || (!upTo && op === 'seen')) return
    const changed = this.entries.filter(
      (one) => !one.archived && (upTo ? one.seq <= last.seq : one === last)
    )
    this.seq++
    for (const one of changed) {
      if (op === 'read') one.read = one.seen = true
      else if (op === 'unread') one.read = false
      else if (op === 'seen') one.seen = true
      else one.archived = true
    }
    this.#send(
      'state',
      upTo
        ? { op, ids: null, upTo: `e-${last.seq}` }
        : { op, ids: changed.map(({ id }) => id), upTo: null },
      false
    )
  }

  heartbeat(): Frame {
    return frameOf('heartbeat', `e-${this.seq}`, { counts: this.counts })
  }
}

const apply = (page: Page | null, frame: Frame): Page | null =>
  applyAt(page, frame, '2026-01-01T00:00:00.000Z')
const empty: Page = {
  user: 'u',
  topics: '',
  cursor: 'e-0',
  items: [],
  counts: { unread: 0, unseen: 0 },
  changedAt: 'e-0',
  more: false
}
const nth = fc.nat({ max: 50 })
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('publish' as const),
      shared: fc.boolean(),
      key: fc.constantFrom(undefined, 'k', 'l')
    })
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('recall' as const), nth }) },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('mark' as const),
      op: fc.constantFrom('read', 'unread', 'archived', 'seen'),
      nth,
      upTo: fc.boolean()
    })
  },
  // The transport repeats frames: how many it goes back.
  { weight: 2, arbitrary: fc.record({ does: fc.constant('repeat' as const), nth }) }
)

test('the page matches the service after any sequence of events, repeated or not', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Model()
      let page: Page = empty
      let told = 0
      let news = 0
      const tell = (frames: readonly Frame[]): void => {
        for (const frame of frames) {
          const next = apply(page, frame)
          if (!next) continue
          if (frame.event !== 'heartbeat') news++
          page = next
        }
      }
      for (const one of steps) {
        if (one.does === 'publish') model.publish(one.shared, one.key)
        else if (one.does === 'recall') model.recall(one.nth)
        else if (one.does === 'mark') model.mark(one.op, one.nth, one.upTo)
        else tell(model.frames.slice(Math.max(0, told - one.nth), told))
        if (one.does !== 'repeat') tell(model.frames.slice(told))
        told = model.frames.length
      }
      tell([model.heartbeat(), ...model.frames])
      const shown = page.items.map(
        ({ id, readAt, seen }) => `${id}${readAt ? ' read' : ''}${seen ? ' seen' : ''}`
      )
      return (
        JSON.stringify([shown, page.counts]) === JSON.stringify([model.shown, model.counts]) &&
        news === model.frames.length
      )
    }),
    { numRuns: 500 }
  )
  t.pass('500 random histories')
})

const item = (seq: number, more: Partial<Item> = {}): Item => ({
  id: `i${seq}`,
  cursor: `e-${seq}`,
  type: 't',
  level: 'info',
  createdAt: '2026-01-01T00:00:00.000Z',
  readAt: null,
  seen: false,
  times: 0,
  ...more
})
const page: Page = {
  ...empty,
  cursor: 'e-9',
  items: [
    item(9),
    item(5),
    item(3, { seen: true }),
    item(2, { readAt: '2026-01-01T00:00:00.000Z', seen: true })
  ],
  // Seven more are older than the list.
  counts: { unread: 10, unseen: 9 }
}
const marked = (one: Mark): Counts => mark(page, one, 'now').counts

test('a mark adjusts counts for items on the page and older ones', async (t) => {
  t.same(marked({ op: 'read', ids: ['i9', 'i3', 'i2', 'other'], upTo: null }), {
    unread: 8,
    unseen: 8
  })
  t.same(marked({ op: 'archived', ids: ['i5', 'i2'], upTo: null }), { unread: 9, unseen: 8 })
  t.same(marked({ op: 'unread', ids: ['i2', 'i5'], upTo: null }), { unread: 11, unseen: 9 })
  t.same(marked({ op: 'read', ids: null, upTo: 'e-5' }), { unread: 1, unseen: 1 })
  t.same(marked({ op: 'seen', ids: null, upTo: 'e-9' }), { unread: 10, unseen: 0 })
  t.same(marked({ op: 'archived', ids: null, upTo: 'e-9' }), { unread: 0, unseen: 0 })
})

test('cursors compare within one log, and a fresh page switches to its own log', async (t) => {
  const late = frameOf('notification', 'e-10', { op: 'created', item: item(10) })
  t.equal(apply(page, frameOf('notification', 'e-9', { op: 'created', item: item(9) })), null)
  t.equal(apply(page, late)?.items.length, 5)
  t.equal(apply(null, late), null, 'nothing before the first page')
  const ready = frameOf('ready', 'f-1', {
    user: 'u',
    topics: ['b', 'a'],
    items: [item(3), item(2), item(1)],
    counts: { unread: 3, unseen: 3 }
  })
  assert(isFresh(ready))
  t.match(pageOf(ready, 3), {
    cursor: 'f-1',
    topics: 'b,a',
    items: [{ id: 'i3' }, { id: 'i2' }, { id: 'i1' }],
    more: false
  })
  t.match(
    pageOf(ready, 2),
    { items: [{ id: 'i3' }, { id: 'i2' }], more: true },
    'one more than asked for says that there are more'
  )
})

test('items expire by the service’s clock, never by the device’s', async (t) => {
  const at = '2026-01-01T00:10:00.000Z'
  const brief = { ...page, items: [item(9), item(5, { expiresAt: at }), item(3)] }
  const left = (now: number): number | undefined =>
    apply(brief, frameOf('heartbeat', 'e-9', { now }))?.items.length
  t.equal(left(Date.parse(at) - 1), 3)
  t.equal(left(Date.parse(at)), 2)
  t.equal(left(Number.NaN), 3, 'while the clock is not known')
})

test('an ephemeral notification is reported but not kept; counts may change without an event', async (t) => {
  t.equal(
    apply(page, frameOf('notification', 'e-9', { op: 'created', item: item(0, { cursor: null }) })),
    page
  )
  t.same(apply(page, frameOf('heartbeat', 'e-9', { counts: { unread: 1, unseen: 0 } }))?.counts, {
    unread: 1,
    unseen: 0
  })
  t.equal(apply(page, frameOf('heartbeat', 'e-8', { counts: { unread: 1, unseen: 0 } })), null)
  t.equal(
    apply(page, frameOf('from.later', 'e-10', {}))?.cursor,
    'e-10',
    'what we do not know moves the cursor'
  )
})
