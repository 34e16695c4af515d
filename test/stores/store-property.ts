import fc from 'fast-check'
import type { Test } from 'tap'
import { channelsOf, scopeOf, userOf } from '../../src/log/channel.ts'
import type { MarkOp } from '../../src/log/event.ts'
import type { Recipients } from '../../src/log/notification.ts'
import type { Store } from '../../src/log/store.ts'
import { publication } from './store-fixtures.ts'
import { StoreModel } from './store-model.ts'

const user = fc.constantFrom('u1', 'u2', 'u3')
const to: fc.Arbitrary<Recipients> = fc.oneof(
  user.map((name) => ({ user: name })),
  fc.array(user, { minLength: 1, maxLength: 4 }).map((users) => ({ users })),
  fc.constantFrom('t1', 't2').map((topic) => ({ topic })),
  fc.constant({ everyone: true as const })
)
const op = fc.constantFrom('read', 'unread', 'seen', 'archived')
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('publish'),
      to,
      key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined })
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recall'), nth: fc.nat() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('ids'),
      user,
      op,
      nths: fc.array(fc.nat(), { maxLength: 4 })
    })
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('upTo'), user, op, nth: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('erase'), user }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen') }) }
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Maps the consecutive seqs of a model to those of its log, which skips some after a start. */
class Seqs {
  readonly #given = [0]
  readonly #counted = new Map([[0, 0]])
  #leaps = false

  /** After a restart the next seq may be any higher one. */
  reopened(): void {
    this.#leaps = true
  }

  /** Records the new heads of both. The seqs of one step are consecutive. */
  grown(counted: number, given: number): void {
    const last = this.#given.at(-1)!
    const first = given - (counted - this.#given.length)
    if (this.#given.length > counted) return equal(given, last)
    if (first !== last + 1 && !(this.#leaps && first > last))
      throw new Error(`the seq after ${last} is ${first}`)
    this.#leaps = false
    for (let seq = first; seq <= given; seq++) {
      this.#counted.set(seq, this.#given.length)
      this.#given.push(seq)
    }
  }

  given(counted: number): number {
    return this.#given[counted]!
  }

  counted(given: number): number | undefined {
    return this.#counted.get(given)
  }
}

/**
 * Applies random steps to a store and to a model of each of its logs, and compares what each user
 * sees after every step.
 */
export async function storeProperty(
  t: Test,
  open: () => Promise<{ store: Store; reopen: () => Promise<Store>; end: () => Promise<void> }>,
  numRuns: number
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      const opened = await open()
      let { store } = opened
      const models = store.logs.map(() => new StoreModel())
      const seqs = new Map(models.map((model) => [model, new Seqs()]))
      const ids: string[] = []
      const erased = new Map<string, number>()
      try {
        for (const next of steps) {
          if (next.do === 'reopen') {
            store = await opened.reopen()
            for (const one of seqs.values()) one.reopened()
          } else await apply(next as Step, store, models, seqs, ids, erased)
          for (const name of ['u1', 'u2', 'u3']) {
            const model = modelOf(name, store, models)
            await compare(name, store, model, seqs.get(model)!, erased.get(name) ?? 0)
          }
        }
      } finally {
        await opened.end()
      }
    }),
    { numRuns }
  )
  t.pass('the store and its models agree')
}

const TOPICS = ['t1', 't2', 't3']
const change = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      to: fc.oneof(
        user.map((name) => ({ user: name })),
        fc.constantFrom(...TOPICS).map((topic) => ({ topic })),
        fc.constant({ everyone: true as const })
      ),
      key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
      ttlMs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined, freq: 4 }),
      times: fc.integer({ min: 1, max: 4 })
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({ user, op, nths: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }) })
  },
  { weight: 4, arbitrary: fc.record({ user, op, back: fc.nat({ max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ recall: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ erase: user }) }
)

/**
 * Counts and lists are read from summaries. They must match the entries whatever removes entries:
 * expiry, retention, collapse. `store` must keep only a few entries in each channel.
 */
export async function countsProperty(t: Test, store: Store, numRuns: number): Promise<void> {
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 30, size: 'max' }), async (changes) => {
      const run = ++runs
      const ids: string[] = []
      const named = (name: string): string => `${name}-${run}`
      const scope = (name: string) => scopeOf(named(name), TOPICS.map(named))
      for (const next of changes) {
        if ('to' in next) {
          const { to, key, ttlMs } = next
          const own: Recipients =
            'user' in to
              ? { user: named(to.user) }
              : 'topic' in to
                ? { topic: named(to.topic) }
                : { everyone: true }
          const expiresAt = ttlMs === undefined ? undefined : Date.now() + ttlMs
          const items = Array.from({ length: next.times }, () =>
            publication(own, { key, expiresAt })
          )
          ids.push(...items.map(({ id }) => id))
          await store.publish(items)
        } else if ('nths' in next) {
          const some = next.nths.flatMap(
            (nth) => ids[ids.length - 1 - (nth % Math.max(ids.length, 1))] ?? []
          )
          await store.mark(named(next.user), next.op as MarkOp, { ids: some, allows: () => true })
        } else if ('back' in next) {
          const upTo = Math.max(0, store.logOf(named(next.user)).head - next.back)
          await store.mark(named(next.user), next.op as MarkOp, { upTo, scope: scope(next.user) })
        } else if ('recall' in next)
          await store.recall(ids[next.recall % Math.max(ids.length, 1)] ?? 'nothing')
        else await store.erase(named(next.erase))
        for (const name of ['u1', 'u2']) {
          const all = await store.inbox(named(name), scope(name), { status: 'all', limit: 1000 })
          const unread = all.items.filter(({ marks }) => marks.readAt === null)
          equal(all.counts, {
            unread: unread.length,
            unseen: all.items.filter(({ marks }) => !marks.seen).length
          })
          const short = await store.inbox(named(name), scope(name), { status: 'unread', limit: 3 })
          equal(short.items.length, Math.min(3, short.counts.unread))
          equal(short.more, short.counts.unread > 3)
        }
      }
    }),
    { numRuns }
  )
  t.pass('counts, lists and entries agree')
}

/** The model of the log that a user reads. */
const modelOf = (user: string, store: Store, models: readonly StoreModel[]): StoreModel =>
  models[store.logs.indexOf(store.logOf(user) as Store['logs'][0])]!

async function apply(
  next: Step,
  store: Store,
  models: readonly StoreModel[],
  seqs: ReadonlyMap<StoreModel, Seqs>,
  ids: string[],
  erased: Map<string, number>
): Promise<void> {
  const pick = (nth: number): string => ids[nth % Math.max(ids.length, 1)] ?? 'nothing'
  if ('to' in next) {
    const item = publication(next.to, { key: next.key })
    ids.push(item.id)
    for (const model of models) {
      const readsIt = (user: string | undefined): boolean =>
        user === undefined || modelOf(user, store, models) === model
      model.publish(
        item,
        channelsOf(next.to).filter((channel) => readsIt(userOf(channel)))
      )
    }
    await store.publish([item])
  } else if ('nths' in next) {
    const named = next.nths.map(pick)
    const affected = modelOf(next.user, store, models).mark(
      next.user,
      next.op,
      ({ id }) => named.includes(id),
      scopeOf(next.user, ['t1', 't2'])
    )
    equal(
      (await store.mark(next.user, next.op, { ids: named, allows: () => true })).affected,
      affected
    )
  } else if ('op' in next) {
    const scope = scopeOf(next.user, ['t1'])
    const model = modelOf(next.user, store, models)
    const upTo = next.nth % (model.head + 1)
    const affected = model.mark(next.user, next.op, ({ seq }) => seq <= upTo, scope)
    equal(
      (await store.mark(next.user, next.op, { upTo: seqs.get(model)!.given(upTo), scope }))
        .affected,
      affected
    )
  } else if ('user' in next) {
    const model = modelOf(next.user, store, models)
    erased.set(next.user, model.head)
    model.erase(next.user)
    await store.erase(next.user)
  } else if ('nth' in next) {
    const id = pick(next.nth)
    const recalled = models.map((model) => model.recall(id))
    equal(await store.recall(id), recalled.includes(true))
  }
  models.forEach((model, k) => {
    seqs.get(model)!.grown(model.head, store.logs[k]!.head)
  })
}

async function compare(
  user: string,
  store: Store,
  model: StoreModel,
  seqs: Seqs,
  after: number
): Promise<void> {
  const scope = scopeOf(user, ['t1', 't2'])
  const list = async (status: 'all' | 'unread' | 'archived') =>
    (await store.inbox(user, scope, { status, limit: 1000 })).items.map(({ entry }) => entry.id)
  const logOf = async (limit: number) => {
    const log: { seq: number; what: string }[] = []
    for (let at = seqs.given(after), more = true; more; ) {
      const page = await store.read(user, scope, at, limit)
      if ('gap' in page) throw new Error('unexpected gap')
      log.push(
        ...page.events.map((event) => ({
          seq: seqs.counted(event.seq) ?? -1,
          what: event.kind === 'state' ? event.op : `${event.entry.id} ${event.entry.times}`
        }))
      )
      at = page.upTo
      more = page.more
    }
    return log
  }
  const log = await logOf(1000)
  // Short pages give the same, plus `removed` for entries that a client never saw.
  const inOnePage = new Set(log.map(({ seq }) => seq))
  equal(
    (await logOf(3)).filter(({ seq, what }) => inOnePage.has(seq) || what !== 'removed'),
    log
  )
  const found = {
    counts: await store.counts(user, scope),
    all: await list('all'),
    unread: await list('unread'),
    archived: await list('archived'),
    log
  }
  equal(found, model.view(user, scope, after))
}

function equal(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`found ${a}, wanted ${b}`)
}
