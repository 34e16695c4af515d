#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { signDevToken } from './auth/jwt.ts'
import { MAX_TIMER_MS } from './bounds/limits.ts'
import { exportTo, ImportError, importFrom, type Tally } from './commands/migrate.ts'
import {
  type Config,
  ConfigError,
  isPublic,
  loadConfig,
  readEnvironment,
  SETTINGS
} from './config/config.ts'
import { nearestWord } from './config/misspelt.ts'
import { TopicGrant, USER_RULE, UserName } from './log/names.ts'
import { backUpStore, openArchiveSource, openArchiveTarget } from './stores/open-archive.ts'
import { StoreOpenError } from './stores/store-open-error.ts'

/** Folder of package.json: a clone's, or the installed package's. */
const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')) as {
  version: string
}

const HELP = `bellwire ${version}: durable notifications for browsers

Usage
  bellwire [--host H] [--port P]        start the service
  bellwire --check-config               check the settings and exit
  bellwire token <user> [--topics a,b]  print a subscriber JWT for trying out (valid for an hour)
  bellwire export [file]                write all that the store holds as lines of JSON; replaces the file
  bellwire backup <file>                copy the embedded database to a new file, also beside the running service
  bellwire import [file]                fill an empty store from them, with the service stopped
  bellwire --help | --version

Settings (environment; any secret X also as X_FILE)
`

/** Hard limit behind DRAIN_MS: what is still open then is cut. */
const GRACE_MS = 4_000

function fail(lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`bellwire: ${line}\n`)
  process.exit(1)
}

/** The settings, and the file `.env` that some of them may come from. */
interface Settings {
  readonly config: Config
  readonly file: string | undefined
}

function settings(flags: { port?: string | undefined; host?: string | undefined }): Settings {
  try {
    const { env, file } = readEnvironment(PACKAGE)
    return { config: loadConfig(env, flags), file }
  } catch (error) {
    if (error instanceof ConfigError) fail(error.lines)
    throw error
  }
}

function help(): string {
  const width = Math.max(...SETTINGS.map(({ name }) => name.length)) + 2
  return (
    HELP +
    SETTINGS.map(
      (one) =>
        `  ${one.name.padEnd(width)}${one.description}${one.default ? ` [${one.default}]` : ''}\n`
    ).join('')
  )
}

function token(config: Config, user: string | undefined, topics: string | undefined): void {
  const [secret] = config.auth.jwtSecrets
  if (!secret)
    fail([
      'token needs AUTH_JWT_SECRET; with AUTH_JWKS_URL or a session look-up, get a token from your identity provider'
    ])
  if (!UserName.safeParse(user).success)
    fail([`token <user> [--topics a,b]: the user's name ${USER_RULE}`])
  const list = topics ? topics.split(',') : []
  for (const topic of list)
    if (!TopicGrant.safeParse(topic).success)
      fail([`--topics: ${JSON.stringify(topic)} is not a topic name, nor a prefix that ends in *`])
  process.stdout.write(`${signDevToken(user!, list, secret, 3600, config.auth)}\n`)
}

function loud({ keysInUse, warnings }: Config): string {
  if (keysInUse.development.length === 0) return ''
  const more = warnings.map((line) => `\n  ${line}.`).join('')
  return `\n  DEVELOPMENT KEYS ARE IN USE. Anyone who reaches this port may publish and read; production refuses to start with them.${more}\n`
}

/** What a newcomer pastes. */
function greeting({ config, file }: Settings, address: string): string {
  const base = `${address}${config.basePath}`
  const [secret] = config.auth.jwtSecrets
  const publishKey = config.publishKeys[0]?.key
  const monitorKey = config.monitorKeys[0]?.key
  // What is printed here is kept by whoever keeps the log: a key of the user's own is named, not shown.
  const authorization = isPublic(publishKey)
    ? `'Authorization: Bearer ${publishKey}'`
    : '"Authorization: Bearer $PUBLISH_KEY"'
  // Without a secret nobody here can make a credential: what a subscriber brings is the application's.
  const credential = !secret
    ? '-H "Cookie: $COOKIE"'
    : isPublic(secret)
      ? `-H 'Authorization: Bearer ${signDevToken('alice', ['news'], secret, 86_400, config.auth)}'`
      : '-H "Authorization: Bearer $(node dist/main.js token alice --topics news)"'
  return `
  Bellwire ${version} listens on ${base}
  Settings: the environment${file === undefined ? '' : `, then ${file}`}
${loud(config)}
  Subscribe (${secret ? 'as alice' : 'with what your application gives its users in $COOKIE'}, in one terminal):
    curl -N ${credential} ${base}/v1/stream

  Publish (in another${isPublic(publishKey) ? '' : ', with one of your PUBLISH_KEYS in $PUBLISH_KEY'}):
    curl -X POST ${base}/v1/notifications -H ${authorization} -H 'Content-Type: application/json' -d '{"to":{"user":"alice"},"type":"hello","title":"Hello, Alice"}'

  Dashboard:     ${base}/monitor (any user name, password ${isPublic(monitorKey) ? monitorKey : 'one of MONITOR_KEYS'})
${config.demo ? `  Demo page:     ${base}/demo\n` : ''}  Documentation: ${base}/documentation

`
}

async function serve({ config, file }: Settings): Promise<void> {
  // The other commands do without it, and start three times as fast.
  const { createApp } = await import('./app.ts')
  const app = await createApp(config, version, () => process.exit(1)).catch((error: unknown) => {
    if (error instanceof StoreOpenError) fail([error.message])
    throw error
  })

  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) {
      app.log.warn({ signal }, 'second signal: exit at once')
      process.exit(1)
    }
    stopping = true
    app.log.info({ signal, drainMs: config.drainMs }, 'draining')
    const deadline = setTimeout(
      () => {
        app.log.error('some connections did not end in time; exit')
        process.exit(0)
      },
      Math.min(config.drainMs + GRACE_MS, MAX_TIMER_MS)
    )
    deadline.unref()
    app
      // A balancer that looks every few seconds sends requests until it has seen /readyz; whoever presses Ctrl-C waits for nobody.
      .drain(config.production && signal === 'SIGTERM')
      .then(() => app.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          app.log.error({ err: error }, 'the shutdown failed')
          process.exit(1)
        }
      )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  // A fault of ours: say so and end, so that the supervisor starts a clean process; the log on disk is whole.
  process.on('uncaughtException', (error) => {
    app.log.fatal({ err: error }, 'uncaught exception')
    process.exit(1)
  })

  try {
    const address = await app.listenOnAll({ host: config.host, port: config.port, backlog: 4096 })
    for (const warning of config.warnings) app.log.warn(warning)
    if (config.production)
      app.log.info({ address, store: config.store, version, envFile: file ?? null }, 'listening')
    else process.stdout.write(greeting({ config, file }, address))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    await app.close()
    if (code === 'EADDRINUSE')
      fail([
        `port ${config.port} on ${config.host} is taken; end what listens there, or choose another with --port`
      ])
    if (code === 'EACCES')
      fail([`port ${config.port} needs privileges; choose one above 1023 with --port`])
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      fail([`HOST ${config.host} is not an address of this machine`])
    throw error
  }
}

async function migrate(
  config: Config,
  command: 'export' | 'import',
  file: string | undefined
): Promise<void> {
  try {
    const tally = await (command === 'export' ? runExport(config, file) : runImport(config, file))
    const { notification, mark } = tally
    process.stderr.write(`bellwire: ${notification} notifications and ${mark} marks ${command}ed\n`)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof StoreOpenError || error instanceof ImportError) fail([message])
    if (code === 'EPIPE') fail(['nobody reads the export any more'])
    fail([`the ${command} failed: ${message}`])
  }
}

async function backup(config: Config, file: string | undefined): Promise<void> {
  if (file === undefined) fail(['backup <file>: name the file to write the copy to'])
  try {
    const bytes = await backUpStore(config, file)
    process.stderr.write(`bellwire: ${file}: written and synced, ${(bytes / 1e6).toFixed(1)} MB\n`)
  } catch (error) {
    if (error instanceof StoreOpenError) fail([error.message])
    throw error
  }
}

async function runExport(config: Config, file: string | undefined): Promise<Tally> {
  const source = await openArchiveSource(config)
  try {
    if (source.notice !== undefined) process.stderr.write(`bellwire: ${source.notice}\n`)
    return await exportTo(source, file)
  } finally {
    await source.close()
  }
}

async function runImport(config: Config, file: string | undefined): Promise<Tally> {
  const target = await openArchiveTarget(config)
  try {
    return await importFrom(target, file)
  } finally {
    await target.close()
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parse()
  if (values.help) {
    process.stdout.write(help())
    return
  }
  if (values.version) {
    process.stdout.write(`${version}\n`)
    return
  }
  const [command, ...rest] = positionals
  refuseExtraWords(command, rest, values.topics)
  const { config, file } = settings({ port: values.port, host: values.host })
  if (command === 'token') return token(config, rest[0], values.topics)
  if (command === 'export' || command === 'import')
    return migrate(config, command, rest[0] === '-' ? undefined : rest[0])
  if (command === 'backup') return backup(config, rest[0])
  if (command !== undefined)
    fail([`there is no command ${JSON.stringify(command)}: ${meant(command, Object.keys(USAGE))}`])
  if (values['check-config']) {
    for (const warning of config.warnings) process.stderr.write(`bellwire: warning: ${warning}\n`)
    process.stdout.write(
      `the settings are fine: ${file === undefined ? 'the environment' : `the environment, then ${file}`}\n`
    )
    return
  }
  await serve({ config, file })
}

/** Every command, and how it is called. Each takes one argument at most. */
const USAGE: Readonly<Record<string, string>> = {
  token: 'token <user> [--topics a,b]',
  export: 'export [file]',
  backup: 'backup <file>',
  import: 'import [file]'
}

function refuseExtraWords(
  command: string | undefined,
  [, ...extra]: readonly string[],
  topics: string | undefined
): void {
  if (command === undefined || !Object.hasOwn(USAGE, command) || extra.length === 0) return
  const hint =
    command === 'token' && topics === undefined ? `: did you mean --topics ${extra.join(',')}?` : ''
  fail([`${USAGE[command]}: ${JSON.stringify(extra[0])} is one word too many${hint}`])
}

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  'check-config': { type: 'boolean' },
  port: { type: 'string' },
  host: { type: 'string' },
  topics: { type: 'string' }
} as const

const meant = (word: string, known: readonly string[], dashes = ''): string => {
  const nearest = nearestWord(word, known)
  return nearest === undefined ? 'see --help' : `did you mean ${dashes}${nearest}?`
}

/** What was typed. Node's own check is left out: its messages are about the parser rather than about the words. */
function parse() {
  const parsed = parseArgs({
    strict: false,
    allowPositionals: true,
    options: OPTIONS,
    tokens: true
  })
  for (const token of parsed.tokens) {
    if (token.kind !== 'option') continue
    const { rawName, name, value } = token
    if (!Object.hasOwn(OPTIONS, name))
      fail([`there is no option ${rawName}: ${meant(name, Object.keys(OPTIONS), '--')}`])
    const { type } = OPTIONS[name as keyof typeof OPTIONS]
    if (type === 'string' && value === undefined)
      fail([`${rawName} needs a value: ${rawName} <${name}>`])
    if (type === 'boolean' && value !== undefined) fail([`${rawName} takes no value`])
  }
  return parsed as {
    values: Partial<
      Record<'help' | 'version' | 'check-config', boolean> &
        Record<'port' | 'host' | 'topics', string>
    >
    positionals: string[]
  }
}

await main()
