import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { tempDir } from '../fixtures/temp-dir.ts'
import { call, PUBLISH_KEY, type Service, startService, tokenOf } from './harness.ts'

const canTrace = spawnSync('strace', ['-qq', 'true']).status === 0
const skip = canTrace ? false : 'strace is missing, or may not trace here'

/** Runs a program and writes a line to `file` for each fdatasync; `faults` makes some of them fail. */
const traced = (file: string, ...faults: string[]): string[] => [
  ...['strace', '-D', '-f', '-qq', '-e', 'trace=fdatasync', '-e', 'signal=none', '-o', file],
  ...faults
]

const publish = async (service: Service, title: string): Promise<number> => {
  const body = { to: { user: 'u1' }, type: 't', title }
  const options = { key: PUBLISH_KEY, body }
  // 0: the connection was lost.
  return call('POST', `${service.url}/v1/notifications`, options).then(
    ({ status }) => status,
    () => 0
  )
}

test('each 201 follows an fdatasync; if one fails, nothing is acknowledged and the process exits', {
  skip
}, async (t) => {
  const file = path.join(tempDir(t), 'trace')
  const syncs = (): number => readFileSync(file, 'utf8').match(/fdatasync\(.*= 0/g)?.length ?? 0
  const first = await startService(t, { under: traced(file) })
  const { dataDir } = first
  const atStart = syncs()
  for (const title of ['a', 'b', 'c']) {
    const before = syncs()
    t.equal(await publish(first, title), 201)
    t.ok(syncs() > before)
  }
  await first.kill('SIGTERM')

  const fault = ['-e', `inject=fdatasync:error=EIO:when=${atStart + 3}+`]
  const second = await startService(t, { dataDir, under: traced(file, ...fault) })
  const exited = once(second.child, 'exit')
  const stored: string[] = []
  for (let n = 1; n <= 20; n++) if ((await publish(second, `n${n}`)) === 201) stored.push(`n${n}`)
  t.same(await exited, [1, null])
  t.ok(stored.length < 20)
  t.match(second.output(), /EIO/)

  const third = await startService(t, { dataDir })
  const { body } = await call('GET', `${third.url}/v1/inbox`, { key: tokenOf('u1') })
  const titles: string[] = body.items.map(({ title }: { title: string }) => title)
  for (const title of ['a', 'b', 'c', ...stored]) t.ok(titles.includes(title), title)
})
