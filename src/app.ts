import { EventEmitter, once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { LAST_WORDS_MS } from './bounds/limits.ts'
import { createNodeName } from './cluster/node-name.ts'
import { openCluster } from './cluster/open-cluster.ts'
import type { Config } from './config/config.ts'
import { Hub } from './delivery/hub.ts'
import { Alerts } from './monitoring/alerts.ts'
import { Monitoring } from './monitoring/monitoring.ts'
import { NodeAnswers } from './monitoring/node-answers.ts'
import { NodeMonitor } from './monitoring/node-monitor.ts'
import { createLog } from './monitoring/process-log.ts'
import { StalePeers } from './monitoring/stale-peers.ts'
import { PROBLEMS } from './plugins/schemas/problem.ts'
import { createServer } from './plugins/transports/create-server.ts'
import { type Parts, registerPlugins } from './register-plugins.ts'
import { openStore } from './stores/open-store.ts'

/**
 * Opens the store and the cluster, connects them with the hub, and registers the plugins. The
 * server does not listen yet. `onLost` is called if the store is lost for good, once all streams
 * have been closed: the process should exit. Rejects with `StoreOpenError`.
 */
export async function createApp(
  config: Config,
  version: string,
  onLost: () => void = () => {}
): Promise<FastifyInstance> {
  const log = createLog(config)
  // First, because the store and the cluster may report errors while they open.
  const monitoring = new Monitoring(log, PROBLEMS)
  const { fault, stats, records } = monitoring

  const lost = new EventEmitter<{ store: [] }>()
  const storeLost = once(lost, 'store')
  const store = await openStore({
    ...config,
    sync: config.storeSync,
    onCommit: (ms) => stats.commit.record(ms),
    onLost: (err) => {
      log.fatal({ err }, 'the store is lost: all streams end, and the process exits for a restart')
      lost.emit('store')
    },
    log: {
      trouble: (message) => fault('store', message),
      warning: ({ code, message, action }) => log.warn({ code, action }, message)
    }
  })
  const node = createNodeName()
  const onTrouble = (message: string): void => fault('cluster', message)
  const cluster = await openCluster(node, { ...config, onTrouble })

  const hub = new Hub(store, node, cluster, config, monitoring.observer)
  void storeLost.then(() => {
    hub.closeAll('unavailable')
    setTimeout(onLost, LAST_WORDS_MS)
  })
  const nodeMonitor = new NodeMonitor({ version, hub, store, cluster, monitoring }, config)
  cluster.join(new NodeAnswers(hub, records, () => nodeMonitor.report()))
  await nodeMonitor.start()

  const app = createServer(config, {
    log,
    isLast: () => hub.draining,
    onSlow: () => fault('slow-answer', 'a connection was closed because its client did not read')
  })
  await registerPlugins(app, config, { version, store, cluster, hub, monitoring, nodeMonitor })
  startWatchers(app, config, { node, hub, monitoring, nodeMonitor })
  app.addHook('onClose', async () => {
    nodeMonitor.stop()
    await cluster.leave()
    await store.close()
  })
  return app
}

/** Starts what runs on timers until the server closes. */
function startWatchers(
  app: FastifyInstance,
  { alertWebhookUrl: url, alertWebhookSecret: secret }: Config,
  parts: Pick<Parts, 'hub' | 'monitoring' | 'nodeMonitor'> & { readonly node: string }
): void {
  const { node, hub, monitoring, nodeMonitor } = parts
  const { fault } = monitoring
  const onError = (err: unknown): void =>
    fault('socket-table', 'the socket table cannot be read', { err })
  const stalePeers = new StalePeers(hub, onError)
  stalePeers.start()
  app.addHook('preClose', async () => stalePeers.stop())
  if (url === undefined) return
  const onFailure = (message: string): void => fault('alert', message)
  const alerts = new Alerts({ health: nodeMonitor.health, node, url, secret, onError: onFailure })
  app.addHook('preClose', async () => alerts.stop())
}
