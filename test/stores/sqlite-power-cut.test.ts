import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { scopeOf } from '../../src/log/channel.ts'
import type { LoggedEvent } from '../../src/log/event.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { openStore } from './built.ts'
import { readState, writeState } from './sqlite-fixtures.ts'
import { Followed, publication, storeOptions } from './store-fixtures.ts'

const scope = scopeOf('ann', [])
const FILES = ['bellwire.db', 'bellwire.db-wal', 'bellwire.life']
const eventOf = (event: LoggedEvent): string =>
  `${event.seq} ${event.kind === 'state' ? `${event.op} ${event.upTo}` : event.entry.id}`

t.test(
  'a truncated WAL leaves the log up to a commit, and a proved loss starts a new epoch',
  async (t) => {
    const dataDir = tempDir(t)
    const cut = tempDir(t)
    const store = await openStore(storeOptions(dataDir))
    t.teardown(() => store.close())
    const followed = new Followed(store)
    /** The head after each commit. */
    const commits = new Set([0])
    const step = async (i: number): Promise<void> => {
      if (i % 3 < 2)
        await store.publish([publication({ user: 'ann' }), publication({ users: ['ann', 'bob'] })])
      else await store.mark('ann', 'read', { upTo: store.logs[0].head, scope })
      commits.add(store.logs[0].head)
    }
    // The state file follows the head once a second. The pauses keep all commits in the WAL until
    // then.
    let steps = 0
    for (; readState(dataDir).head === 0; await setTimeout(10)) await step(steps++)
    for (let i = 0; i < 20; i += 1) await step(steps++)
    const { epoch, head } = store.logs[0]
    const proved = readState(dataDir).head
    t.ok(proved > 0 && proved < head)
    // By another process: closing a file in this one would release the locks of the open store.
    execFileSync('cp', [...FILES.map((name) => join(dataDir, name)), cut])
    await store.close()

    const all = (followed.events as LoggedEvent[]).filter(({ channel }) => channel === 'user:ann')
    const { size } = statSync(join(cut, 'bellwire.db-wal'))
    const seen = { lost: 0, whole: 0 }
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: size }), async (offset) => {
        const again = mkdtempSync(join(cut, 'again-'))
        for (const name of FILES) copyFileSync(join(cut, name), join(again, name))
        truncateSync(join(again, 'bellwire.db-wal'), offset)
        // The store recognizes a copy by its inode; this one must pass for the original.
        writeState(again, { inode: statSync(join(again, 'bellwire.db')).ino })
        const reopened = await openStore(storeOptions(again))
        try {
          if (!commits.has(reopened.logs[0].head))
            throw new Error(`${reopened.logs[0].head} is not the head after a commit`)
          const page = await reopened.read('ann', scope, 0, 1000)
          if ('gap' in page) throw new Error('unexpected gap')
          const wanted = all.filter(({ seq }) => seq <= reopened.logs[0].head).map(eventOf)
          if (page.events.map(eventOf).join() !== wanted.join())
            throw new Error('the events differ from those before the cut')
          if (reopened.logs[0].head < proved && reopened.logs[0].epoch === epoch)
            throw new Error(`from ${proved} to ${reopened.logs[0].head} in one epoch`)
          if (reopened.logs[0].head === head && reopened.logs[0].epoch !== epoch)
            throw new Error('a new epoch although nothing was lost')
          if (reopened.logs[0].head < proved) seen.lost += 1
          if (reopened.logs[0].head === head) seen.whole += 1
          await reopened.publish([publication({ user: 'ann' })])
        } finally {
          await reopened.close()
        }
      }),
      { numRuns: 10, examples: [[0], [31], [size - 1], [size]] }
    )
    t.ok(
      seen.lost > 0 && seen.whole > 0,
      `${seen.lost} cuts lost proved events, ${seen.whole} lost nothing`
    )
  }
)
