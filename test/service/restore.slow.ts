import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Test, test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import {
  call,
  MONITOR_KEY,
  publish,
  runService,
  type Service,
  serviceEnv,
  startService,
  tokenOf
} from './harness.ts'

const ANN = tokenOf('ann')
const FILES = ['bellwire.db', 'bellwire.db-wal', 'bellwire.life']

interface Event {
  readonly event: string
  readonly id: string
  readonly data: {
    readonly item?: { readonly title: string }
    readonly reason?: string
    readonly counts?: unknown
  }
}

const changes = async (service: { url: string }, since = ''): Promise<Event[]> => {
  const { status, text, body } = await call(
    'GET',
    `${service.url}/v1/changes?wait=0${since && `&since=${since}`}`,
    { key: ANN }
  )
  if (status !== 200) throw new Error(text)
  return body.events
}
const titles = (events: readonly Event[]): (string | undefined)[] =>
  events.map(({ data }) => data.item?.title)
const put = async (service: { url: string }, ...names: string[]): Promise<void> => {
  for (const title of names) {
    const { status, text } = await publish(service, { to: { user: 'ann' }, title })
    if (status !== 201) throw new Error(text)
  }
}
const monitor = async (service: { url: string }) =>
  (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body

/** Copies the files that a frozen process has open, as a disk snapshot would. */
async function snapshot(t: Test, service: Service): Promise<string> {
  const copy = tempDir(t)
  service.child.kill('SIGSTOP')
  for (const name of FILES) cpSync(path.join(service.dataDir, name), path.join(copy, name))
  service.child.kill('SIGCONT')
  return copy
}

interface Way {
  /** Takes a copy while the service runs. */
  readonly take: (t: Test, service: Service) => Promise<string>
  /** Restores the copy after the service has ended. */
  readonly putBack: (copy: string, dataDir: string) => void
}

const WAYS: Record<string, Way> = {
  'a disk was rolled back': {
    take: snapshot,
    putBack: (copy, dataDir) => {
      // The same inodes with their earlier bytes.
      for (const name of readdirSync(dataDir)) {
        if (FILES.includes(name))
          writeFileSync(path.join(dataDir, name), readFileSync(path.join(copy, name)))
        else if (name !== 'bellwire.lock') rmSync(path.join(dataDir, name))
      }
    }
  },
  'a directory was copied back': {
    take: snapshot,
    putBack: (copy, dataDir) => {
      rmSync(dataDir, { recursive: true })
      cpSync(copy, dataDir, { recursive: true })
    }
  },
  'a backup was put back': {
    take: async (t, { dataDir }) => {
      const copy = path.join(tempDir(t), 'backup.db')
      const { code, stderr } = await runService(['backup', copy], serviceEnv(dataDir))
      t.match(
        { code, stderr },
        { code: 0, stderr: /backup\.db: written and synced, \d+\.\d MB\n$/ }
      )
      return copy
    },
    putBack: (copy, dataDir) => {
      for (const name of readdirSync(dataDir))
        if (name.startsWith('bellwire.db')) rmSync(path.join(dataDir, name))
      cpSync(copy, path.join(dataDir, 'bellwire.db'))
    }
  }
}

for (const [way, { take, putBack }] of Object.entries(WAYS)) {
  test(`when ${way}, clients that saw what is missing get a reset and all others resume`, async (t) => {
    const dataDir = path.join(tempDir(t), 'data')
    let service = await startService(t, { dataDir })
    const [ready] = await changes(service)
    await put(service, 'one', 'two', 'three', 'four')
    const kept = await changes(service, ready!.id)
    const copy = await take(t, service)
    await put(service, 'five', 'six', 'seven')
    const seen = await changes(service, ready!.id)
    t.same(titles(seen), ['one', 'two', 'three', 'four', 'five', 'six', 'seven'])
    const cursors = new Set(seen.map(({ id }) => id))

    // Restored twice from one copy: what the first restored process wrote is undone as well.
    for (const life of ['a', 'b']) {
      await service.kill('SIGKILL')
      putBack(copy, dataDir)
      service = await startService(t, { dataDir })
      t.match(
        await changes(service, seen.at(-1)!.id),
        [{ event: 'reset' }],
        'before anything is published'
      )
      t.same(
        titles(await changes(service, kept[1]!.id)),
        ['three', 'four'],
        'one that saw less resumes'
      )
      const names = [1, 2, 3, 4].map((n) => `${life}${n}`)
      await put(service, ...names)
      for (const lost of [...cursors].filter((id) => !kept.some((event) => event.id === id))) {
        const [first, ...more] = await changes(service, lost)
        t.match(
          first,
          { event: 'reset', data: { counts: { unread: 8, unseen: 8 } } },
          `${lost} cannot be resumed`
        )
        t.same(more, [], 'and the page has everything')
      }
      const events = await changes(service, kept[1]!.id)
      t.same(
        titles(events),
        ['three', 'four', ...names],
        'one that saw less misses nothing and gets nothing twice'
      )
      for (const { id } of events.slice(2)) {
        t.notOk(cursors.has(id), `${id} is given once`)
        cursors.add(id)
      }
    }
    await eventually(async () => {
      const { status, recommendations } = await monitor(service)
      return (
        status === 'critical' &&
        recommendations.some(({ code }: { code: string }) => code === 'events-undone')
      )
    })
    const lines = service
      .output()
      .split('\n')
      .filter((line) => line.includes('an event that this log has lost'))
    t.equal(lines.length, 1, 'and the log says it once a minute')
    t.match(JSON.parse(lines[0]!), { level: 40, user: 'ann', count: 1 })
  })
}

test('restarts that kept all data resume in the same epoch, however often', async (t) => {
  const dataDir = tempDir(t)
  let service = await startService(t, { dataDir })
  const { epoch } = (await monitor(service)).store
  let [last] = await changes(service)
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    await service.kill(signal)
    service = await startService(t, { dataDir })
    t.same(await changes(service, last!.id), [], 'nothing was missed')
    await service.kill(signal)
    service = await startService(t, { dataDir })
    await put(service, 'one', 'two')
    const events = await changes(service, last!.id)
    t.same(
      titles(events),
      ['one', 'two'],
      'a client at the head gets what it missed, without a reset'
    )
    t.match(await monitor(service), { status: 'ok', store: { epoch } })
    last = events.at(-1)
  }
})

test('a backup that fails says what to do and leaves no file behind', async (t) => {
  const dataDir = tempDir(t)
  const out = tempDir(t)
  const backup = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await runService(['backup', ...args], serviceEnv(dataDir, env))
    t.equal(code, 1)
    t.equal(stderr.trimEnd().split('\n').length, 1, 'one line')
    return stderr
  }
  const file = path.join(out, 'b.db')
  t.match(await backup([file]), /bellwire\.db: there is no such file; set DATA_DIR/)
  writeFileSync(path.join(dataDir, 'bellwire.db'), '')
  t.match(await backup([file]), /is not a Bellwire database/)
  rmSync(path.join(dataDir, 'bellwire.db'))
  const service = await startService(t, { dataDir })
  await put(service, 'one')
  writeFileSync(file, 'precious')
  t.match(await backup([file]), /b\.db: already exists; name a file that does not exist/)
  t.equal(readFileSync(file, 'utf8'), 'precious', 'what was there is untouched')
  t.match(await backup([path.join(out, 'none', 'b.db')]), /name a file in a directory that exists/)
  t.match(await backup([]), /backup <file>: name the file/)
  t.match(await backup([path.join(out, 'c.db')], { STORE: 'memory' }), /STORE=memory keeps nothing/)
  t.match(
    await backup([path.join(out, 'c.db')], { STORE: 'redis', REDIS_URL: 'redis://127.0.0.1:1' }),
    /back up Redis with its own tools/
  )
  t.same(readdirSync(out), ['b.db'])
})
