import type { FastifyInstance } from 'fastify'
import { createIdentity } from './auth/identity.ts'
import { signDevToken } from './auth/jwt.ts'
import { createKeyring } from './auth/keyring.ts'
import { issueTicket } from './auth/ticket.ts'
import { RESERVED_FILES, RESERVED_SOCKETS } from './bounds/limits.ts'
import type { Cluster } from './cluster/cluster.ts'
import type { Config } from './config/config.ts'
import { openFileLimit } from './config/open-files.ts'
import type { Hub } from './delivery/hub.ts'
import type { Store } from './log/store.ts'
import type { Monitoring } from './monitoring/monitoring.ts'
import type { NodeMonitor } from './monitoring/node-monitor.ts'
import auth from './plugins/auth.ts'
import clientScript from './plugins/client-script.ts'
import cors from './plugins/cors.ts'
import dashboard from './plugins/dashboard.ts'
import deliveryReport from './plugins/delivery-report.ts'
import demo from './plugins/demo.ts'
import headers from './plugins/headers.ts'
import inbox from './plugins/inbox.ts'
import metrics from './plugins/metrics.ts'
import monitor from './plugins/monitor.ts'
import openapi from './plugins/openapi.ts'
import poll from './plugins/poll.ts'
import presence from './plugins/presence.ts'
import probes from './plugins/probes.ts'
import problems from './plugins/problems.ts'
import publish from './plugins/publish.ts'
import rateLimit from './plugins/rate-limit.ts'
import recallKey from './plugins/recall-key.ts'
import shutdown from './plugins/shutdown.ts'
import socket from './plugins/socket.ts'
import stream from './plugins/stream.ts'
import { oneAtATime } from './plugins/transports/answer.ts'
import forwarded from './plugins/transports/forwarded.ts'
import httpRules from './plugins/transports/http-rules.ts'
import listeners from './plugins/transports/listeners.ts'
import openSockets from './plugins/transports/open-sockets.ts'
import users from './plugins/users.ts'

/** What the plugins serve. */
export interface Parts {
  readonly version: string
  readonly store: Store
  readonly cluster: Cluster
  readonly hub: Hub
  readonly monitoring: Monitoring
  readonly nodeMonitor: NodeMonitor
}

/**
 * Registers every plugin, in the order of their dependencies. Each gets the whole `Config`, and its
 * options name the settings it reads: a new setting needs no change here.
 */
export async function registerPlugins(
  app: FastifyInstance,
  config: Config,
  parts: Parts
): Promise<void> {
  await registerRules(app, config, parts)
  await registerCredentials(app, config, parts)
  await app.register(
    async (routes) => {
      await routes.register(openapi, { ...config, ...parts, cookieName: config.auth.cookie })
      await routes.register(probes, parts)
      await registerProducerRoutes(routes, config, parts)
      await registerSubscriberRoutes(routes, config, parts)
      await registerOperatorRoutes(routes, config, parts)
      await registerDemo(routes, config)
    },
    { prefix: config.basePath }
  )
  // Load balancers probe without the prefix.
  if (config.basePath !== '') await app.register(probes, { ...parts, hidden: true })
}

/** What holds for every request and connection. */
async function registerRules(
  app: FastifyInstance,
  config: Config,
  { hub, store, monitoring: { fault, log } }: Parts
): Promise<void> {
  await app.register(oneAtATime)
  if (config.trustProxy !== false) await app.register(forwarded)
  await app.register(problems, {
    basePath: config.basePath,
    onError: fault,
    onRefusal: (code, detail, at) => log.refused(code, detail, at)
  })
  await app.register(headers)
  await app.register(httpRules)
  await app.register(shutdown, { hub, drainMs: config.drainMs, abandon: () => store.abandon() })
  await app.register(listeners)
  await app.register(openSockets, {
    maxSockets: (openFileLimit() ?? Number.POSITIVE_INFINITY) - RESERVED_FILES + RESERVED_SOCKETS
  })
}

/** Who calls, from which page, and how often. */
async function registerCredentials(
  app: FastifyInstance,
  config: Config,
  { store, monitoring: { log, signIns } }: Parts
): Promise<void> {
  const identity = createIdentity({
    ...config.auth,
    store,
    observer: signIns,
    parseCookie: (header) => app.parseCookie(header)
  })
  app.addHook('onClose', async () => identity.close())
  await app.register(auth, {
    ...config,
    identity,
    producers: createKeyring(config.publishKeys),
    // Browsers ask their user for Basic.
    operators: createKeyring(config.monitorKeys, { basic: true })
  })
  await app.register(rateLimit, config)
  await app.register(cors, { ...config, onUnlisted: (origin) => log.unlistedOrigin(origin) })
}

async function registerProducerRoutes(
  routes: FastifyInstance,
  config: Config,
  { store, cluster, monitoring }: Parts
): Promise<void> {
  await routes.register(publish, { ...config, store, observer: monitoring.publishes })
  await routes.register(recallKey, { store })
  await routes.register(users, {
    ...config,
    store,
    issueTicket: (user, topics) => issueTicket(store, user, topics),
    revoke: async (user) => {
      // Counted first: the revocation ends the streams on every node.
      const counts = await cluster.ask({ kind: 'count-user', user })
      await store.revoke(user)
      return counts.reduce((sum, count) => sum + count, 0)
    }
  })
  await routes.register(presence, { cluster })
}

async function registerSubscriberRoutes(
  routes: FastifyInstance,
  config: Config,
  { hub, store, monitoring: { fault } }: Parts
): Promise<void> {
  await routes.register(stream, { ...config, hub, onError: fault })
  await routes.register(socket, { ...config, hub, onError: fault })
  await routes.register(poll, { ...config, hub })
  await routes.register(inbox, { ...config, store })
  await routes.register(clientScript)
}

async function registerOperatorRoutes(
  routes: FastifyInstance,
  config: Config,
  { cluster, store, nodeMonitor, monitoring: { stats } }: Parts
): Promise<void> {
  const freshState = () => nodeMonitor.freshState()
  await routes.register(dashboard)
  await routes.register(monitor, { ...config, cluster, freshState })
  await routes.register(deliveryReport, { ...config, cluster, store })
  await routes.register(metrics, { ...config, stats, freshState })
}

async function registerDemo(routes: FastifyInstance, config: Config): Promise<void> {
  const [secret] = config.auth.jwtSecrets
  const [producer] = config.publishKeys
  if (!config.demo || !secret || !producer) return
  await routes.register(demo, {
    token: (user, topics) => signDevToken(user, topics, secret, 3600, config.auth),
    publishKey: producer.key
  })
}
