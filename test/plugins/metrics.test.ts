import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  PUBLISH_KEY,
  publish,
  type Service,
  startService,
  tokenOf
} from '../service/harness.ts'

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

interface Exposition {
  /** Name → type, as announced by TYPE lines. */
  readonly types: ReadonlyMap<string, string>
  readonly samples: readonly Sample[]
  /** The sum over all samples of this name whose labels fit. */
  total(name: string, labels?: Record<string, string>): number
}

const NAME = /^[a-z][a-z0-9_]*$/

/** Reads the text format, and refuses what Prometheus would refuse. */
function parseExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const types = new Map<string, string>()
  const samples: Sample[] = []
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line)
    if (type) {
      if (types.has(type[1]!)) throw new Error(`announced twice: ${line}`)
      types.set(type[1]!, type[2]!)
      continue
    }
    const sample = /^([a-z][a-z0-9_]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|\+Inf)$/i.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    const labels = Object.fromEntries(
      [...(sample[2] ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [
        name!,
        value!
      ])
    )
    samples.push({
      name: sample[1]!,
      labels,
      value: Number(sample[3]!.replace('+Inf', 'Infinity'))
    })
  }
  const series = samples.map(({ name, labels }) => JSON.stringify([name, labels]))
  if (new Set(series).size !== series.length) throw new Error('a series appears twice')
  return {
    types,
    samples,
    total: (name, labels = {}) =>
      samples
        .filter(
          (one) =>
            one.name === name &&
            Object.entries(labels).every(([label, value]) => one.labels[label] === value)
        )
        .reduce((sum, { value }) => sum + value, 0)
  }
}

async function scrape(service: Service): Promise<Exposition> {
  const { status, text } = await call('GET', `${service.url}/metrics`, { key: MONITOR_KEY })
  if (status !== 200) throw new Error(`status ${status}`)
  return parseExposition(text)
}

/** All names that a query may use: the announced ones, and the parts of each histogram. */
function namesOf({ types }: Exposition): Set<string> {
  return new Set(
    [...types].flatMap(([name, type]) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    )
  )
}

/** PromQL keywords that may appear where a metric name may. */
const KEYWORDS = new Set([
  'by',
  'without',
  'on',
  'ignoring',
  'and',
  'or',
  'unless',
  'bool',
  'offset',
  'group_left',
  'group_right'
])

/** The metrics that an expression reads. */
function metricsIn(expression: string): string[] {
  const bare = expression
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
  return [...bare.matchAll(/[a-zA-Z_:][\w:]*(?!\w|\s*\()/g)]
    .map(([word]) => word)
    .filter((word) => !KEYWORDS.has(word))
}

/** The matchers `label="value"` of an expression, each with its metric. */
function matchersIn(expression: string): [metric: string, label: string, value: string][] {
  return [...expression.matchAll(/([a-z_]+)\{([^}]*)\}/g)].flatMap(([, metric, inside]) =>
    [...inside!.matchAll(/([a-z_]+)="([^"]*)"/g)].map(
      ([, label, value]): [string, string, string] => [metric!, label!, value!]
    )
  )
}

test('metrics need an operator key, as Bearer or Basic', async (t) => {
  const service = await startService(t, { env: { STORE: 'memory' } })
  const url = `${service.url}/metrics`
  for (const key of [undefined, 'wrong', PUBLISH_KEY, tokenOf('u1')]) {
    const refused = await call('GET', url, key === undefined ? {} : { key })
    t.equal(refused.status, 401)
    t.match(refused.headers.get('www-authenticate'), /^Basic realm=.+, Bearer$/)
    t.equal(refused.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  }
  const basic = `Basic ${Buffer.from(`prometheus:${MONITOR_KEY}`).toString('base64')}`
  for (const authorization of [`Bearer ${MONITOR_KEY}`, basic]) {
    const answer = await call('GET', url, { headers: { authorization } })
    t.equal(answer.status, 200)
    t.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    t.equal(answer.headers.get('cache-control'), 'no-store')
  }
})

test('metric names follow the conventions, and label values come from fixed sets', async (t) => {
  const service = await startService(t)
  const before = await scrape(service)
  for (const [name, type] of before.types) {
    t.match(name, NAME)
    if (name.startsWith('bellwire_')) t.equal(name.endsWith('_total'), type === 'counter', name)
    if (type === 'histogram') t.match(name, /_seconds$/)
  }
  // Nothing that callers make up may create a series: users, topics, addresses, keys, paths.
  for (let n = 0; n < 20; n++) {
    const stream = await openStream(t, `${service.url}/v1/stream`, {
      token: tokenOf(`user-${n}`, [`topic-${n}`])
    })
    await stream.until((f) => f.event === 'ready')
    await publish(
      service,
      { to: { topic: `topic-${n}` }, type: `type-${n}` },
      { 'idempotency-key': `key-${n}` }
    )
    await call('GET', `${service.url}/no/such/place-${n}`)
    await call('POST', `${service.url}/v1/notifications`, {
      key: PUBLISH_KEY,
      body: { to: { user: `user-${n}` } }
    })
    stream.close()
  }
  await eventually(
    async () =>
      (await scrape(service)).total('bellwire_connections_closed_total', { reason: 'gone' }) === 20
  )
  const after = await scrape(service)
  const series = (one: Exposition): string[] =>
    one.samples
      .filter(({ name }) => name.startsWith('bellwire_'))
      .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
      .sort()
  t.strictSame(series(after), series(before), 'the same series as before')
  t.notMatch(series(after).join('\n'), /user-|topic-|type-|"key-|127\.0\.0\.1/)
})

test('metrics count what happens', async (t) => {
  const service = await startService(t, {
    env: { MAX_CONNECTIONS_PER_USER: '2', HEARTBEAT_MS: '200' }
  })
  const token = tokenOf('u1', ['news'])
  const open = () => openStream(t, `${service.url}/v1/stream`, { token })
  const [one, two] = [await open(), await open()]
  const ready = await one.until((f) => f.event === 'ready')
  await two.until((f) => f.event === 'ready')
  const refused = await open()
  await refused.until((f) => f.event === 'goodbye')

  const before = await scrape(service)
  t.equal(before.total('bellwire_connections'), 2)
  t.equal(before.total('bellwire_connections', { transport: 'sse' }), 2)
  t.equal(before.total('bellwire_connected_users'), 1)
  t.equal(before.total('bellwire_connections_opened_total'), 2)
  t.equal(before.total('bellwire_connections_refused_total', { reason: 'limit' }), 1)
  t.equal(before.total('bellwire_publish_to_write_seconds_count'), 0)
  t.equal(before.total('bellwire_health_status'), 1, 'one status holds')
  t.equal(before.total('bellwire_store_healthy'), 1)
  t.ok(before.total('bellwire_connections_limit') > 0)

  for (let n = 0; n < 5; n++)
    await publish(service, { to: { topic: 'news' }, data: { n } }, { 'idempotency-key': `k${n}` })
  await publish(service, { to: { topic: 'news' }, data: { n: 0 } }, { 'idempotency-key': 'k0' })
  await publish(service, { to: { topic: 'news' }, level: 'no such' })
  for (const stream of [one, two]) await stream.until((f) => f.data.item?.data?.n === 4)
  two.close()
  await eventually(
    async () =>
      (await scrape(service)).total('bellwire_connections_closed_total', { reason: 'gone' }) === 1
  )
  const again = await openStream(t, `${service.url}/v1/stream?since=${ready.id}`, { token })
  await again.until((f) => f.data.item?.data?.n === 4)
  const elsewhere = await openStream(t, `${service.url}/v1/stream?since=elsewhere-1`, {
    token: tokenOf('u2')
  })
  await elsewhere.until((f) => f.event === 'reset')
  await elsewhere.until((f) => f.event === 'heartbeat')

  const after = await scrape(service)
  t.equal(after.total('bellwire_publishes_total', { outcome: 'accepted' }), 5)
  t.equal(after.total('bellwire_publishes_total', { outcome: 'replayed' }), 1)
  t.equal(after.total('bellwire_publishes_total', { outcome: 'rejected' }), 1)
  t.equal(after.total('bellwire_publishes_rejected_total', {}), 1)
  t.equal(
    after.total('bellwire_publish_to_write_seconds_count'),
    5,
    'once an event, however many read it'
  )
  t.equal(after.total('bellwire_publish_to_write_seconds_bucket', { le: '+Inf' }), 5)
  t.ok(after.total('bellwire_publish_to_write_seconds_sum') < 5)
  t.equal(after.total('bellwire_publish_ack_seconds_count'), 6)
  t.ok(
    after.total('bellwire_commit_seconds_count') >= 5,
    'each was committed before the next request'
  )
  t.ok(after.total('bellwire_commit_seconds_sum') > 0)
  t.equal(after.total('bellwire_replayed_frames_total'), 5)
  t.equal(after.total('bellwire_resets_total'), 1)
  t.ok(after.total('bellwire_frames_total') >= before.total('bellwire_frames_total') + 10 + 5)
  t.ok(after.total('bellwire_heartbeats_total', { outcome: 'sent' }) > 0)
  t.ok(after.total('bellwire_store_head') >= 5)
  t.ok(after.total('bellwire_store_bytes') > 0)

  const { body } = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  t.equal(after.total('bellwire_connections'), body.connections.active)
  t.equal(after.total('bellwire_connections_opened_total'), body.connections.opened)
  t.equal(after.total('bellwire_health_status', { status: body.status }), 1)
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_p99_seconds'
  ])
    t.ok(after.total(name) > 0, name)
  if (process.platform === 'linux') {
    t.ok(after.total('process_open_fds') > 3)
    t.ok(after.total('process_max_fds') > after.total('process_open_fds'))
  }
})

test('metrics without a value, such as the size of a store in memory, are announced without samples', async (t) => {
  const service = await startService(t, {
    env: { STORE: 'memory', MAX_CONNECTIONS: '0', BASE_PATH: '/notify' }
  })
  const { status, text } = await call('GET', `${service.url}/notify/metrics`, { key: MONITOR_KEY })
  t.equal(status, 200)
  const metrics = parseExposition(text)
  for (const name of ['bellwire_store_bytes', 'bellwire_connections_limit']) {
    t.equal(metrics.types.get(name), 'gauge')
    t.notOk(metrics.samples.some((sample) => sample.name === name))
  }
  t.equal(metrics.total('bellwire_commit_seconds_count'), 0)
  t.equal(metrics.total('bellwire_build_info', { store: 'memory' }), 1)
})

// biome-ignore lint/suspicious/noExplicitAny: files of others' formats are looked into by assertions
type Document = any
const yaml = (file: string): Document => parse(readFileSync(file, 'utf8'), { strict: true })

test('every alert rule and dashboard panel uses metrics and labels that exist', async (t) => {
  const metrics = await scrape(await startService(t))
  const names = namesOf(metrics)
  // Prometheus itself adds these.
  for (const name of ['up', 'ALERTS']) names.add(name)
  const labels = new Map<string, Set<string>>()
  for (const sample of metrics.samples) {
    for (const [label, value] of Object.entries(sample.labels)) {
      const key = `${sample.name} ${label}`
      labels.set(key, (labels.get(key) ?? new Set()).add(value))
    }
  }
  // Prometheus sets these labels.
  const foreign = new Set(['job', 'instance', 'alertstate'])

  function check(expression: string, where: string): void {
    const used = metricsIn(expression)
    t.ok(used.length > 0, `${where} reads something`)
    for (const name of used) t.ok(names.has(name), `${where}: ${name} exists`)
    for (const [metric, label, value] of matchersIn(expression)) {
      if (!foreign.has(label))
        t.ok(
          labels.get(`${metric} ${label}`)?.has(value),
          `${where}: ${metric}{${label}="${value}"} exists`
        )
    }
  }

  const rules = yaml('docker/prometheus/alerts.yml').groups.flatMap(
    (group: Document) => group.rules
  )
  t.ok(rules.length >= 10)
  for (const { alert, expr, labels: set, annotations } of rules) {
    check(expr, alert)
    t.match(set.severity, /^(critical|warning)$/)
    t.match(annotations, { summary: String, description: String }, `${alert} says what to do`)
  }

  const folder = 'docker/grafana/dashboards'
  const boards = readdirSync(folder).map((file) =>
    JSON.parse(readFileSync(path.join(folder, file), 'utf8'))
  )
  const { uid } = yaml('docker/grafana/provisioning/datasources/prometheus.yaml').datasources[0]
  for (const board of boards) {
    const ids = new Set(board.panels.map(({ id }: Document) => id))
    t.equal(ids.size, board.panels.length, 'every panel has an id of its own')
    for (const panel of board.panels) {
      if (panel.type === 'row') continue
      t.equal(panel.datasource.uid, uid, `${panel.title}: the data source that is provisioned`)
      for (const { expr } of panel.targets) check(expr, panel.title)
    }
    for (const { expr, name } of board.annotations.list) check(expr, name)
    for (const { query } of board.templating.list)
      check(
        query.query.replace(/^label_values\((.+), \w+\)$/, '$1'),
        'the variable of the dashboard'
      )
  }
  const asked = new Set(
    [
      ...rules.map(({ expr }: Document) => expr),
      ...boards.flatMap(({ panels }) =>
        panels.flatMap(({ targets = [] }) => targets.map(({ expr }: Document) => expr))
      )
    ].flatMap(metricsIn)
  )
  const unused = [...names].filter(
    (name) => name.startsWith('bellwire_') && !/_(sum|count|bucket)$/.test(name) && !asked.has(name)
  )
  t.strictSame(unused, ['bellwire_build_info'], 'and every metric of ours is on the dashboard')
})

test('the compose file refers only to secrets, volumes and files that exist', async (t) => {
  const compose = yaml('docker/compose.yaml')
  const { services, secrets, volumes } = compose
  t.strictSame(Object.keys(services), ['bellwire', 'nginx', 'prometheus', 'grafana'])
  const made = readFileSync('docker/make-secrets.sh', 'utf8')
  for (const [name, { file }] of Object.entries<Document>(secrets)) {
    t.equal(file, `./secrets/${name}`)
    t.match(made, name, `make-secrets.sh makes ${name}`)
  }
  for (const [name, service] of Object.entries<Document>(services)) {
    t.ok(service.healthcheck.test, `${name} has a health check`)
    for (const secret of service.secrets ?? []) t.ok(secrets[secret], `${name}: secret ${secret}`)
    for (const volume of service.volumes ?? []) {
      const [source, target] = volume.split(':')
      if (source.startsWith('.'))
        t.ok(existsSync(path.join('docker', source)), `${name}: ${source} exists`)
      else t.ok(source in volumes, `${name}: volume ${source}`)
      t.ok(target.startsWith('/'))
    }
    // A setting may only name a secret that its service was given.
    for (const value of Object.values<string>(service.environment ?? {})) {
      const secret = /^\/run\/secrets\/(.+)$/.exec(value)
      if (secret) t.ok(service.secrets.includes(secret[1]!), `${name}: ${value}`)
    }
  }
  const nginx = readFileSync('docker/nginx.conf', 'utf8')
  for (const [, secret] of nginx.matchAll(/\/run\/secrets\/([\w.]+)/g))
    t.ok(services.nginx.secrets.includes(secret))
  t.match(nginx, 'bellwire:3000')
  const { scrape_configs, rule_files } = yaml('docker/prometheus/prometheus.yml')
  t.strictSame(rule_files, ['alerts.yml'])
  t.match(scrape_configs, [
    {
      job_name: 'bellwire',
      authorization: { credentials_file: `/run/secrets/${services.prometheus.secrets[0]}` },
      static_configs: [{ targets: ['bellwire:3000'] }]
    }
  ])
  t.match(yaml('docker/grafana/provisioning/datasources/prometheus.yaml').datasources, [
    { url: 'http://prometheus:9090' }
  ])
  const { path: boards } = yaml('docker/grafana/provisioning/dashboards/bellwire.yaml').providers[0]
    .options
  t.ok(services.grafana.volumes.some((volume: string) => volume.split(':')[1] === boards))
})
