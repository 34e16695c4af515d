import type { FastifyInstance } from 'fastify'
import { MAX_TIMER_MS } from '../bounds/limits.ts'
import type { Config } from '../config/config.ts'
import { CommandError } from './command-error.ts'
import type { Invocation } from './command-line.ts'
import { greeting } from './greeting.ts'
import { VERSION } from './installed-package.ts'
import { readSettings } from './settings.ts'

/** How much longer than DRAIN_MS a shutdown may take before the process exits anyway. */
const GRACE_MS = 4_000

/** A repeated signal within this time is an echo of the first. */
const ECHO_MS = 1_000

/** `bellwire`: runs the service until a signal ends it. */
export async function serve(invocation: Invocation): Promise<void> {
  const { config, file } = readSettings(invocation)
  // Loaded here, because the other commands start three times as fast without it.
  const { createApp } = await import('../app.ts')
  const app = await createApp(config, VERSION, () => process.exit(1))
  closeOnSignal(app, config)
  try {
    const address = await app.listenOnAll({ host: config.host, port: config.port, backlog: 4096 })
    for (const warning of config.warnings) app.log.warn(warning)
    if (config.production)
      app.log.info(
        { address, store: config.store, version: VERSION, envFile: file ?? null },
        'listening'
      )
    else process.stdout.write(greeting({ config, file }, address))
  } catch (error) {
    await app.close()
    throw listenProblem((error as NodeJS.ErrnoException).code, config) ?? error
  }
}

/**
 * Ends the process on SIGTERM and SIGINT. A second signal exits at once, unless it comes within
 * {@link ECHO_MS}: a terminal signals npm and this process, and npm forwards the signal. (No library
 * for signals tells the two apart.)
 */
function closeOnSignal(app: FastifyInstance, { drainMs, production }: Config): void {
  let stoppedAt: number | null = null
  const stop = (signal: NodeJS.Signals): void => {
    if (stoppedAt !== null) {
      if (performance.now() - stoppedAt < ECHO_MS) return
      app.log.warn({ signal }, 'second signal: exiting at once')
      process.exit(1)
    }
    stoppedAt = performance.now()
    app.log.info({ signal, drainMs }, 'draining')
    const delay = Math.min(drainMs + GRACE_MS, MAX_TIMER_MS)
    setTimeout(() => {
      app.log.error('some connections did not end in time: exiting')
      process.exit(0)
    }, delay).unref()
    app
      // A load balancer sends requests until its next probe of /readyz. Ctrl-C waits for nobody.
      .drain(production && signal === 'SIGTERM')
      .then(() => app.close())
      .then(
        () => process.exit(0),
        (err: unknown) => {
          app.log.error({ err }, 'the shutdown failed')
          process.exit(1)
        }
      )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  // After a fault of our own the supervisor starts a clean process; the log on disk is intact.
  process.on('uncaughtException', (err) => {
    app.log.fatal({ err }, 'uncaught exception')
    process.exit(1)
  })
}

function listenProblem(code: string | undefined, { host, port }: Config): CommandError | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return new CommandError(
        `port ${port} on ${host} is taken: stop the process that listens there, or choose another port with --port`
      )
    case 'EACCES':
      return new CommandError(`port ${port} needs privileges: choose a port above 1023 with --port`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new CommandError(`HOST ${host} is not an address of this machine`)
    default:
      return undefined
  }
}
