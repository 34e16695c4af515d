import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import Fastify, { type FastifyInstance, LogController } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import { createIdentity } from './auth/identity.ts'
import { signDevToken } from './auth/jwt.ts'
import { createKeyring } from './auth/keyring.ts'
import { issueTicket } from './auth/ticket.ts'
import { LAST_WORDS_MS, RESERVED_FILES, RESERVED_SOCKETS } from './bounds/limits.ts'
import { HubMember } from './cluster/node-answers.ts'
import { openCluster } from './cluster/open-cluster.ts'
import type { Config } from './config/config.ts'
import { openFileLimit } from './config/open-files.ts'
import { Hub } from './delivery/hub.ts'
import { Alerts } from './monitoring/alerts.ts'
import { describeError } from './monitoring/describe-error.ts'
import { Monitoring } from './monitoring/monitoring.ts'
import { NodeMonitor } from './monitoring/node-monitor.ts'
import { StalePeers } from './monitoring/stale-peers.ts'
import auth from './plugins/auth.ts'
import clientScript from './plugins/client-script.ts'
import cors from './plugins/cors.ts'
import dashboard from './plugins/dashboard.ts'
import trace from './plugins/delivery-report.ts'
import demo from './plugins/demo.ts'
import responseHeaders from './plugins/headers.ts'
import inbox from './plugins/inbox.ts'
import metrics from './plugins/metrics.ts'
import monitor from './plugins/monitor.ts'
import documentation from './plugins/openapi.ts'
import changes from './plugins/poll.ts'
import healthProbes from './plugins/probes.ts'
import problems from './plugins/problems.ts'
import publish from './plugins/publish.ts'
import rateLimit from './plugins/rate-limit.ts'
import { PROBLEMS } from './plugins/schemas/problem.ts'
import { parseQuery } from './plugins/schemas/query.ts'
import shutdown from './plugins/shutdown.ts'
import socket from './plugins/socket.ts'
import stream from './plugins/stream.ts'
import { oneAtATime } from './plugins/transports/answer.ts'
import forwarded from './plugins/transports/forwarded.ts'
import httpRules from './plugins/transports/http-rules.ts'
import listeners from './plugins/transports/listeners.ts'
import openSockets from './plugins/transports/open-sockets.ts'
import { serverOptions } from './plugins/transports/server-options.ts'
import users from './plugins/users.ts'
import { openStore } from './stores/open-store.ts'

/** Longest request id taken over from a caller; anything else gets one of ours. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

/** The parts, put together in order. The one place that knows all of them. */
export async function createApp(
  config: Config,
  version: string,
  /** Called when the store cannot come back, and everybody who could be told has been: the process is of no use any more. */
  onLost: () => void = () => {}
): Promise<FastifyInstance> {
  const node = `${
    hostname()
      .replace(/[^A-Za-z0-9]/g, '')
      .slice(0, 12) || 'node'
  }${randomBytes(3).toString('hex')}`

  const app = Fastify({
    logger: {
      level: config.logLevel,
      // No header and no query: that is where secrets travel.
      serializers: {
        req: (request) => ({
          method: request.method,
          path: request.url?.split('?')[0],
          remoteAddress: request.ip
        }),
        res: (reply) => ({ statusCode: reply.statusCode }),
        err: (error) => ({ ...describeError(error) })
      }
    },
    // A line for each request costs more than the request; errors have lines of their own.
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: config.trustProxy,
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers['x-request-id']
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : nextRequestId()
    },
    ...serverOptions({
      isLast: () => hub.draining,
      stallMs: config.stallMs,
      onSlow: () =>
        monitoring.fault('slow-answer', 'a connection was cut whose peer did not read the answer')
    }),
    routerOptions: { maxParamLength: 8192, querystringParser: parseQuery }
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)

  // Before the store and the other nodes are opened: they may report trouble while they open.
  const monitoring: Monitoring = new Monitoring(app.log, PROBLEMS)
  const { fault, lines, stats, records, publishes } = monitoring
  const store = await openStore({
    store: config.store,
    dataDir: config.dataDir,
    sync: config.storeSync,
    redisUrl: config.redisUrl,
    redisPrefix: config.redisPrefix,
    redisShards: config.redisShards,
    redisWaitReplicas: config.redisWaitReplicas,
    retentionDays: config.retentionDays,
    retentionPerChannel: config.retentionPerChannel,
    onCommit: (ms) => stats.commit.record(ms),
    onLost: (err) => {
      app.log.fatal(
        { err },
        'the store is lost: all streams end, and the process exits so that a clean one can take over'
      )
      hub.closeAll('unavailable')
      setTimeout(onLost, LAST_WORDS_MS)
    },
    log: {
      trouble: (message) => fault('store', message),
      warning: ({ code, message, action }) => app.log.warn({ code, action }, message)
    }
  })
  const cluster = await openCluster(node, {
    ...config,
    onTrouble: (message) => fault('cluster', message)
  })
  const hub: Hub = new Hub(store, node, cluster, config, monitoring.observer)
  const nodeMonitor = new NodeMonitor({ version, hub, store, cluster, monitoring }, config)
  cluster.join(new HubMember(hub, records, () => nodeMonitor.report()))
  await nodeMonitor.start()

  const identity = createIdentity({
    ...config.auth,
    store,
    observer: monitoring.signIns,
    parseCookie: (header) => app.parseCookie(header)
  })

  await app.register(oneAtATime)
  if (config.trustProxy !== false) await app.register(forwarded)
  await app.register(problems, {
    basePath: config.basePath,
    onError: fault,
    onRefusal: (code, detail, place) => lines.refused(code, detail, place)
  })
  await app.register(auth, {
    identity,
    producers: createKeyring(config.publishKeys),
    // A browser asks its user for Basic.
    operators: createKeyring(config.monitorKeys, { basic: true }),
    corsOrigins: config.corsOrigins,
    publicUrl: config.publicUrl
  })
  await app.register(rateLimit, config)
  await app.register(responseHeaders)
  await app.register(cors, {
    corsOrigins: config.corsOrigins,
    publicUrl: config.publicUrl,
    basePath: config.basePath,
    onUnlisted: (origin: string) => lines.unlistedOrigin(origin)
  })
  await app.register(httpRules)
  await app.register(shutdown, { hub, drainMs: config.drainMs, abandon: () => store.abandon() })
  await app.register(listeners)
  await app.register(openSockets, {
    maxSockets: (openFileLimit() ?? Number.POSITIVE_INFINITY) - RESERVED_FILES + RESERVED_SOCKETS
  })
  const stalePeers = new StalePeers(hub, (err) =>
    fault('socket-table', 'the socket table cannot be read', { err })
  )
  stalePeers.start()
  const alerts =
    config.alertWebhookUrl === undefined
      ? undefined
      : new Alerts({
          health: nodeMonitor.health,
          node,
          url: config.alertWebhookUrl,
          secret: config.alertWebhookSecret,
          onError: (message) => fault('alert', message)
        })
  app.addHook('preClose', async () => {
    stalePeers.stop()
    alerts?.stop()
  })

  await app.register(
    async (routes) => {
      await routes.register(documentation, {
        version,
        basePath: config.basePath,
        cookieName: config.auth.cookie
      })
      await routes.register(healthProbes, { hub, store })
      await routes.register(publish, {
        store,
        basePath: config.basePath,
        observer: publishes
      })
      await routes.register(users, {
        store,
        issueTicket: (user: string, topics: readonly string[]) => issueTicket(store, user, topics),
        revoke: async (user: string) => {
          // Counted first: the revocation ends the streams on every node.
          const counts = await cluster.ask({ kind: 'count-user', user })
          await store.revoke(user)
          return counts.reduce((sum, count) => sum + count, 0)
        }
      })
      await routes.register(stream, { hub, onError: fault })
      await routes.register(socket, { hub, onError: fault })
      await routes.register(changes, { hub })
      await routes.register(inbox, { store })
      await routes.register(dashboard)
      await routes.register(monitor, {
        cluster,
        freshState: () => nodeMonitor.freshState()
      })
      await routes.register(trace, { cluster, store })
      await routes.register(clientScript)
      await routes.register(metrics, {
        stats,
        freshState: () => nodeMonitor.freshState()
      })
      if (config.demo) {
        const [secret] = config.auth.jwtSecrets
        const [key] = config.publishKeys
        if (secret && key) {
          await routes.register(demo, {
            token: (user: string, topics: string[]) =>
              signDevToken(user, topics, secret, 3600, config.auth),
            publishKey: key.key
          })
        }
      }
    },
    { prefix: config.basePath }
  )
  if (config.basePath !== '') await app.register(healthProbes, { hub, store, hidden: true })

  // The last to go: nothing may ask it any more.
  app.addHook('onClose', async () => {
    identity.close()
    nodeMonitor.stop()
    await cluster.leave()
    await store.close()
  })
  return app
}

let requestCount = 0
const requestPrefix = randomBytes(4).toString('hex')
const nextRequestId = (): string => `${requestPrefix}-${(++requestCount).toString(36)}`
