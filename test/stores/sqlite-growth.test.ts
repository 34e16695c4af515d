import { join } from 'node:path'
import t from 'tap'
import { scopeOf, topicChannel, userChannel } from '../../src/log/channel.ts'
import type { Recipients } from '../../src/log/notification.ts'
import { Append } from '../../src/stores/sqlite/append.ts'
import { type Database, openDatabase, type Statement } from '../../src/stores/sqlite/driver.ts'
import { MarkTable } from '../../src/stores/sqlite/marks.ts'
import { Reader } from '../../src/stores/sqlite/reader.ts'
import { Removal } from '../../src/stores/sqlite/removal.ts'
import { Retention } from '../../src/stores/sqlite/retention.ts'
import { migrate } from '../../src/stores/sqlite/schema.ts'
import { Tickets } from '../../src/stores/sqlite/tickets.ts'
import { Watermarks } from '../../src/stores/sqlite/watermarks.ts'
import { WriteContext } from '../../src/stores/sqlite/write-context.ts'
import { type Teardown, tempDir } from '../fixtures/temp-dir.ts'
import { publication } from './store-fixtures.ts'

/** Every statement that was prepared, and what was asked since. */
const prepared = new Set<string>()
let asked = { statements: 0, rows: 0 }

function counted<R>(statement: Statement<R>): Statement<R> {
  const ran = (rows: number): void => {
    asked = { statements: asked.statements + 1, rows: asked.rows + rows }
  }
  return {
    run: (...values) => {
      ran(0)
      return statement.run(...values)
    },
    get: (...values) => {
      const row = statement.get(...values)
      ran(row ? 1 : 0)
      return row
    },
    all: (...values) => {
      const rows = statement.all(...values)
      ran(rows.length)
      return rows
    }
  }
}

/** A connection that counts. */
const counting = (db: Database): Database => ({
  exec: (sql) => db.exec(sql),
  prepare<R>(sql: string): Statement<R> {
    prepared.add(sql)
    return counted(db.prepare<R>(sql))
  },
  close: () => db.close()
})

/** The reader, and what the writer thread consists of, on one file. */
function open(t: Teardown) {
  const path = join(tempDir(t), 'bellwire.db')
  const db = counting(openDatabase(path))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')
  migrate(db)
  prepared.clear()
  const context = new WriteContext(db, 1000, null)
  const watermarks = new Watermarks(context)
  const parts = {
    append: new Append(context),
    marks: new MarkTable(context, watermarks),
    removal: new Removal(context, watermarks),
    tickets: new Tickets(context),
    retention: new Retention(context, { days: 30, perChannel: 1000 })
  }
  const reader = new Reader(counting(openDatabase(path, { readOnly: true })))
  t.teardown(() => {
    reader.close()
    db.close()
  })
  const transact = <T>(work: () => T): T => {
    context.now = Date.now()
    db.exec('BEGIN')
    const result = work()
    context.save()
    db.exec('COMMIT')
    context.committed()
    return result
  }
  return { db, reader, transact, ...parts }
}

/** Statements that walk a table in the order of its key, up to a limit, and what for. */
const WALKS: readonly (readonly [RegExp, string])[] = [
  [/FROM note ORDER BY seq LIMIT \?$/, 'retention takes the oldest'],
  [/FROM state ORDER BY seq LIMIT \?$/, 'retention takes the oldest'],
  [/FROM idem ORDER BY n LIMIT \?/, 'the oldest keys, a slice'],
  [/FROM revocation LIMIT \?$/, 'the revoked users, up to a limit'],
  [/WHERE channel > \?1 ORDER BY channel LIMIT 1\) c$/, 'the next channel to count'],
  [/^SELECT count\(\*\) AS n, max\(seq\)/, 'counts a slice that a limit bounds']
]

t.test('no statement searches a table without an index', async (t) => {
  const { db } = open(t)
  const statements = [...prepared]
  const plans = statements
    .filter((sql) => /^\s*(?:SELECT|INSERT|UPDATE|DELETE)/.test(sql))
    .map((sql) => ({
      sql,
      steps: db
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail))
    }))
  t.ok(plans.length > 50, `${plans.length} statements`)
  const walking = plans.filter(({ steps }) =>
    steps.some((step) => /^SCAN (?!CONSTANT)|TEMP B-TREE/.test(step))
  )
  for (const [walk, reason] of WALKS)
    t.ok(
      walking.some(({ sql }) => walk.test(sql)),
      reason
    )
  t.same(
    walking.filter(({ sql }) => !WALKS.some(([walk]) => walk.test(sql))),
    []
  )
})

t.test('what one user does costs the same however much is stored for others', async (t) => {
  const { reader, transact, append, marks, tickets } = open(t)
  const scope = scopeOf('ann', ['news'])
  const publish = (to: Recipients) => append.publish(publication(to))
  const store = (count: number): void =>
    transact(() => {
      for (let n = 0; n < count; n++)
        publish(n % 10 === 0 ? { topic: `t${n % 100}` } : { user: `u${n}` })
    })
  transact(() => {
    for (let n = 0; n < 30; n++) publish(n % 3 === 0 ? { topic: 'news' } : { user: 'ann' })
  })

  const cost = (work: () => unknown) => {
    asked = { statements: 0, rows: 0 }
    work()
    return asked
  }
  const costs = () => {
    const { head } = reader.inbox('ann', scope, { status: 'all', limit: 1 })
    const id = publication({ user: 'ann' }).id
    return {
      page: cost(() => reader.inbox('ann', scope, { status: 'all', limit: 25 })),
      unread: cost(() => reader.inbox('ann', scope, { status: 'unread', limit: 25 })),
      counts: cost(() => reader.counts('ann', scope)),
      replay: cost(() => reader.read('eve', scopeOf('eve', ['news']), 1, 100)),
      revoked: cost(() => reader.revokedAt('ann')),
      unknown: cost(() => reader.notification(id)),
      publish: cost(() => transact(() => publish({ user: 'bob' }))),
      publishToTopic: cost(() => transact(() => publish({ topic: 'sport' }))),
      read: cost(() =>
        transact(() => {
          const entries = [{ channel: userChannel('ann'), seq: 2, id: 'n' }]
          return marks.mark({ user: 'ann', op: 'read', entries })
        })
      ),
      unreadAgain: cost(() =>
        transact(() => {
          const entries = [{ channel: userChannel('ann'), seq: 2, id: 'n' }]
          return marks.mark({ user: 'ann', op: 'unread', entries })
        })
      ),
      markUpTo: cost(() =>
        transact(() =>
          marks.markUpTo({
            user: 'cleo',
            op: 'seen',
            upTo: head,
            scope: [topicChannel('quiet')],
            progress: { channel: 0, after: 0, affected: 0 }
          })
        )
      ),
      revoke: cost(() => transact(() => tickets.revoke({ user: 'bob' })))
    }
  }
  store(200)
  // The first call also finds what was never counted.
  costs()
  const few = costs()
  store(4000)
  const many = costs()
  t.same(many, few)
  t.ok(few.page.rows > 25, 'the page was counted')
})
