import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

/** Packages a build needs and a prune removes. */
const BUILD_TOOLS = ['typescript', 'esbuild', '@esbuild', 'tsx', '.bin']

/** A clone with its packages, without build output. */
function clone(t: { teardown(fn: () => unknown): void }): string {
  const dir = tempDir(t)
  for (const name of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'src'])
    cpSync(name, path.join(dir, name), { recursive: true })
  mkdirSync(path.join(dir, 'node_modules'))
  for (const name of readdirSync('node_modules'))
    symlinkSync(path.resolve('node_modules', name), path.join(dir, 'node_modules', name))
  return dir
}

const NPM = ['npm', 'start', '--silent', '--']
/** What `npm start` runs, without half a second of npm. */
const SCRIPT = [process.execPath, 'src/build/start.js']

/** Runs it as a supervisor does: it knows the process it started, not that process's children. */
function start(
  t: { teardown(fn: () => unknown): void },
  cwd: string,
  command: readonly string[],
  env: Record<string, string> = {}
) {
  const { PATH = '', HOME = '' } = process.env
  // `env` takes away the test runner's loaders, which cannot load the compiler, and execs.
  const child: ChildProcess = spawn('env', ['NODE_OPTIONS=', ...command], {
    cwd,
    env: {
      PATH,
      HOME,
      PORT: '0',
      npm_config_userconfig: '/dev/null',
      npm_config_update_notifier: 'false',
      ...env
    },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk) => {
      output += chunk
    })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(() => {
    for (const pid of runningIn(cwd)) process.kill(pid, 'SIGKILL')
  })
  return {
    child,
    ended,
    output: () => output,
    url: () => /listens on (http:\S+)/.exec(output)?.[1],
    /** Resolves when it listens; rejects with its output if it ends instead. */
    async listening() {
      await eventually(() => {
        if (child.exitCode !== null) throw new Error(`it ended without listening: ${output}`)
        return this.url() !== undefined
      }, 240_000)
    }
  }
}

/** Processes whose working directory is the folder. */
function runningIn(folder: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      return readlinkSync(`/proc/${name}/cwd`) === folder ? [Number(name)] : []
    } catch {
      return [] // gone, or not ours
    }
  })
}

/** The arguments of a process, joined by spaces. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

test('npm start builds a fresh clone, and starts an existing build without build tools', {
  skip: process.platform !== 'linux'
}, async (t) => {
  const dir = clone(t)
  const env = { DATA_DIR: path.join(dir, 'data') }
  const first = start(t, dir, NPM, env)
  await first.listening()
  t.equal((await fetch(`${first.url()}/readyz`)).status, 200)
  first.child.kill('SIGTERM')
  await first.ended
  await eventually(() => runningIn(dir).length === 0)
  t.pass('a SIGTERM to npm leaves no process, no port and no lock behind')

  // The state after `npm prune --omit=dev`. The data directory is free again.
  for (const name of BUILD_TOOLS) rmSync(path.join(dir, 'node_modules', name), { force: true })
  const pruned = start(t, dir, NPM, env)
  await pruned.listening()
  pruned.child.kill('SIGTERM')
  await pruned.ended
  await eventually(() => runningIn(dir).length === 0)

  writeFileSync(path.join(dir, '.env'), 'PORT=bad\nHEARTBEAT_MS="200"\n')
  const bad = start(t, dir, [...NPM, '--check-config'], { PORT: '' })
  t.equal(await bad.ended, 1, 'the file .env counts')
  t.match(bad.output(), /^bellwire: PORT must be a whole number/)
  const won = start(t, dir, [...SCRIPT, '--check-config'], { PORT: '4000' })
  t.equal(await won.ended, 0, 'and the environment wins over it')

  const elsewhere = tempDir(t)
  const cron = start(
    t,
    elsewhere,
    [process.execPath, path.join(dir, 'dist/main.js'), '--check-config'],
    { PORT: '' }
  )
  t.equal(await cron.ended, 1, 'it counts in whatever folder the program is started')
  t.match(cron.output(), /^bellwire: PORT must be a whole number/)
  writeFileSync(path.join(dir, '.env'), 'HEARTBEAT_MS="200"\nSTORE=memory\n')
  const far = start(t, elsewhere, [process.execPath, path.join(dir, 'dist/main.js')])
  await far.listening()
  t.match(
    far.output(),
    `Settings: the environment, then ${dir}/.env`,
    'the start says which file it read'
  )
  far.child.kill('SIGTERM')
  await far.ended

  // A change that keeps time and size is a change, and so is a deleted file.
  for (const change of [
    () => writeFileSync(path.join(dir, 'src/log/iso.ts'), 'export const broken: string = 1\n'),
    () => {
      cpSync('src/log/iso.ts', path.join(dir, 'src/log/iso.ts'))
      rmSync(path.join(dir, 'src/client/sleep.ts'))
    }
  ]) {
    change()
    const stale = start(t, dir, SCRIPT, env)
    t.equal(await stale.ended, 1, 'what was built from other sources is never run')
    t.match(stale.output(), /^bellwire: dist is missing or older than src.*npm ci && npm run build/)
  }
  cpSync('src/client/sleep.ts', path.join(dir, 'src/client/sleep.ts'))
  t.equal(
    await start(t, dir, [...SCRIPT, '--check-config'], { PORT: '4000' }).ended,
    0,
    'the same sources again need no new build'
  )
})

test('SIGTERM during npm start’s build ends the build as well', {
  skip: process.platform !== 'linux'
}, async (t) => {
  const dir = clone(t)
  const starting = start(t, dir, NPM)
  const builds = (): boolean => runningIn(dir).some((pid) => commandOf(pid).includes('tsc'))
  await eventually(builds, 240_000)
  starting.child.kill('SIGTERM')
  await starting.ended
  await eventually(() => runningIn(dir).length === 0)
  t.equal(starting.url(), undefined)
})
