import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import { Alerts } from '../../src/monitoring/alerts.ts'
import { Health, type HealthStatus } from '../../src/monitoring/health.ts'
import type { HealthInputs } from '../../src/monitoring/health-inputs.ts'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  MONITOR_KEY,
  openStream,
  publish,
  startService,
  tokenOf
} from '../service/harness.ts'

interface Teardown {
  teardown(fn: () => unknown): void
}

interface Alert {
  readonly at: string
  readonly node: string
  readonly status: string
  readonly previous: string
  readonly text: string
  readonly recommendations: readonly { readonly since: string }[]
}

interface Heard {
  readonly at: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: Alert
}

/** An operator's webhook: it records each alert, and answers as the test says. */
async function receiver(t: Teardown, answer: (response: ServerResponse, nth: number) => void) {
  const heard: Heard[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    heard.push({ at: performance.now(), headers: request.headers, text, body: JSON.parse(text) })
    answer(response, heard.length)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    heard,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=in-the-address`
  }
}

const accept = (response: ServerResponse): void => {
  response.writeHead(204).end()
}

const [, snippet] = /```js\n(import \{ createHmac[\s\S]*?)```/.exec(
  readFileSync('src/monitoring/README.md', 'utf8')
)!
const { isFromBellwire } = (await import(
  `data:text/javascript,${encodeURIComponent(snippet!)}`
)) as {
  isFromBellwire(headers: IncomingHttpHeaders, body: string, secret: string): boolean
}

const SECRET = 'a-secret-that-signs-alerts'
const TROUBLE = {
  message: () => 'It is so.',
  action: () => 'Do this.',
  firesAt: 1,
  clearsBelow: 1,
  keepFiringForMs: 0
} as const

/** Alerts on two rules that fire when the test says so. */
async function alerting(
  t: Teardown,
  url: string,
  options: { secret?: string; everyMs?: number; timeoutMs?: number } = {}
) {
  let status: HealthStatus = 'ok'
  const health = new Health([
    { ...TROUBLE, code: 'bad', severity: 'warning', level: () => Number(status === 'degraded') },
    { ...TROUBLE, code: 'worse', severity: 'critical', level: () => Number(status === 'critical') }
  ])
  const failures: string[] = []
  const alerts = new Alerts({
    health,
    node: 'node-1',
    url,
    secret: SECRET,
    everyMs: 0,
    retryMs: [20, 80],
    onError: (message: string) => failures.push(message),
    ...options
  })
  t.teardown(() => alerts.stop())
  return {
    alerts,
    failures,
    become(next: HealthStatus): void {
      status = next
      health.assess({} as HealthInputs, performance.now())
    }
  }
}

test('an alert reports a change of status, says what to do, and has a signature that the receiver can check', async (t) => {
  const { heard, url } = await receiver(t, accept)
  const { become, failures } = await alerting(t, url)
  const before = Date.now()
  become('degraded')
  await eventually(() => heard.length === 1)
  const { headers, text, body } = heard[0]!
  t.match(body, {
    status: 'degraded',
    previous: 'ok',
    node: 'node-1',
    recommendations: [
      { code: 'bad', severity: 'warning', message: 'It is so.', action: 'Do this.' }
    ]
  })
  t.strictSame(Object.keys(body).sort(), [
    'at',
    'node',
    'previous',
    'recommendations',
    'status',
    'text'
  ])
  for (const instant of [body.at, body.recommendations[0]!.since]) {
    t.match(instant, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    t.ok(Math.abs(Date.parse(instant) - before) < 5000)
  }
  t.equal(headers['content-type'], 'application/json')

  // The check that src/monitoring/README.md shows.
  t.ok(isFromBellwire(headers, text, SECRET))
  t.notOk(isFromBellwire(headers, text, 'another secret'))
  t.notOk(isFromBellwire(headers, text.replace('degraded', 'critical'), SECRET))
  const { 'bellwire-signature': _, ...unsigned } = headers
  t.notOk(isFromBellwire(unsigned, text, SECRET))
  const later = String(Number(headers['bellwire-timestamp']) + 1)
  t.notOk(isFromBellwire({ ...headers, 'bellwire-timestamp': later }, text, SECRET))
  const old = String(Number(headers['bellwire-timestamp']) - 3600)
  const signature = `v1=${createHmac('sha256', SECRET).update(`${old}.${text}`).digest('hex')}`
  t.notOk(
    isFromBellwire({ 'bellwire-timestamp': old, 'bellwire-signature': signature }, text, SECRET),
    'replayed later'
  )

  become('critical')
  await eventually(() => heard.length === 2)
  become('ok')
  await eventually(() => heard.length === 3)
  t.match(
    heard.map(({ body: { previous, status } }) => `${previous} → ${status}`),
    ['ok → degraded', 'degraded → critical', 'critical → ok']
  )
  t.strictSame(heard[2]!.body.recommendations, [])
  t.strictSame(
    heard.map((one) => one.body.text),
    [
      'Bellwire node-1 is degraded (it was ok): It is so. Do this.',
      'Bellwire node-1 is critical (it was degraded): It is so. Do this.',
      'Bellwire node-1 is ok again (it was critical).'
    ],
    'a chat shows one line that a person understands'
  )
  t.strictSame(failures, [])
})

test('without a secret the alert has no signature', async (t) => {
  const { heard, url } = await receiver(t, accept)
  const health = new Health([{ ...TROUBLE, code: 'bad', severity: 'warning', level: () => 1 }])
  const alerts = new Alerts({ health, node: 'n', url, onError: () => {} })
  t.teardown(() => alerts.stop())
  health.assess({} as HealthInputs, 0)
  await eventually(() => heard.length === 1)
  t.notOk('bellwire-signature' in heard[0]!.headers)
})

test('alerts keep the minimum interval, and a change reverted within it is not sent', async (t) => {
  const { heard, url } = await receiver(t, accept)
  const { become } = await alerting(t, url, { everyMs: 400 })
  become('degraded')
  await eventually(() => heard.length === 1)
  for (const status of ['critical', 'ok', 'critical'] as const) become(status)
  await eventually(() => heard.length === 2)
  t.match(heard[1]!.body, { previous: 'degraded', status: 'critical' })
  t.ok(heard[1]!.at - heard[0]!.at > 390, `${heard[1]!.at - heard[0]!.at} ms`)
  // The status returns to the one reported last before the interval ends: nothing is sent until it
  // changes again.
  become('ok')
  become('critical')
  become('degraded')
  await eventually(() => heard.length === 3)
  t.match(heard[2]!.body, { previous: 'critical', status: 'degraded' })
  t.ok(heard[2]!.at - heard[1]!.at > 390)
})

test('an alert is retried with growing pauses until the receiver acknowledges it', async (t) => {
  const { heard, url } = await receiver(t, (response, nth) => {
    if (nth === 2) response.destroy()
    else if (nth < 6)
      response.writeHead(nth === 3 ? 302 : 500, { location: 'http://127.0.0.1:1/' }).end()
    else accept(response)
  })
  const { become, failures } = await alerting(t, url)
  become('critical')
  await eventually(() => heard.length === 6)
  t.ok(heard.every(({ body }) => body.status === 'critical' && body.previous === 'ok'))
  t.match(failures, [
    /answered 500/,
    /socket hang up/,
    /answered 302/,
    /answered 500/,
    /answered 500/
  ])
  t.equal(failures.length, 5)
  for (const failure of failures)
    t.match(failure, /^ALERT_WEBHOOK_URL \(http:\/\/127\.0\.0\.1:\d+\): /)
  t.notMatch(failures.join(), /in-the-address|hook\?/, 'the path and the query may hold a secret')
  const pauses = heard.slice(1).map(({ at }, n) => at - heard[n]!.at)
  t.ok(pauses[4]! >= 39, `the last pause is at least half of 80 ms: ${pauses.map(Math.round)}`)
  // Acknowledged at last: the next alert reports the change from that status.
  become('ok')
  await eventually(() => heard.length === 7)
  t.match(heard[6]!.body, { previous: 'critical', status: 'ok' })
})

test('a 4xx ends the retries of an alert, except for 408 and 429', async (t) => {
  const answers = [400, 404, 408, 429, 204]
  const { heard, url } = await receiver(t, (response, nth) =>
    response.writeHead(answers[nth - 1]!).end('no_text')
  )
  const { become, failures } = await alerting(t, url)
  become('degraded')
  await eventually(() => failures.length === 1)
  become('critical')
  await eventually(() => failures.length === 2)
  t.match(failures, [
    /it answered 400, so this alert is not sent again$/,
    /it answered 404, so this alert is not sent again$/
  ])
  become('ok')
  await eventually(() => heard.length === 5)
  t.match(failures.slice(2), [/it answered 408$/, /it answered 429$/])
  t.strictSame(
    heard.map(({ body: { previous, status } }) => `${previous} → ${status}`),
    ['ok → degraded', 'degraded → critical', 'critical → ok', 'critical → ok', 'critical → ok']
  )
})

test('a recovery is sent even if the receiver acknowledged no alert before it', async (t) => {
  let works = false
  const { heard, url } = await receiver(t, (response) =>
    works ? accept(response) : response.writeHead(503).end()
  )
  const { become } = await alerting(t, url)
  become('critical')
  await eventually(() => heard.length > 0)
  become('ok')
  await eventually(() => heard.at(-1)!.body.status === 'ok')
  works = true
  const failed = heard.length
  await eventually(() => heard.length > failed)
  t.match(heard.at(-1)!.body, { status: 'ok', previous: 'critical' })
})

test('an alert to a receiver that hangs is given up, and delays no shutdown', async (t) => {
  const { heard, url } = await receiver(t, (response, nth) => {
    if (nth === 2) response.writeHead(200).write('and so on')
  })
  const { alerts, become, failures } = await alerting(t, url, { timeoutMs: 1000 })
  become('critical')
  await eventually(() => failures.length === 1)
  t.match(failures[0], 'no answer within 1000 ms')
  await eventually(() => heard.length === 2)
  // A status is an answer, even if its body never ends.
  become('ok')
  await eventually(() => heard.length === 3)
  t.match(heard[2]!.body, { previous: 'critical', status: 'ok' })
  const began = performance.now()
  alerts.stop()
  t.ok(performance.now() - began < 900, 'it does not wait for the request under way')
})

test('the service sends an alert near the connection limit, and a hanging receiver delays nothing', async (t) => {
  const nearLimit = async () => {
    const { heard, url } = await receiver(t, () => {})
    const service = await startService(t, {
      env: {
        MAX_CONNECTIONS: '10',
        DRAIN_MS: '200',
        ALERT_WEBHOOK_URL: url,
        ALERT_WEBHOOK_SECRET: SECRET
      }
    })
    const streams = await Promise.all(
      Array.from({ length: 9 }, (_, n) =>
        openStream(t, `${service.url}/v1/stream`, { token: tokenOf(`u${n}`) })
      )
    )
    await eventually(() => heard.length === 1)
    return { heard, service, streams }
  }
  // A machine that starves a process of CPU causes an alert of its own; then another process is tried.
  let run = await nearLimit()
  for (let n = 0; n < 9 && /-lag"/.test(run.heard[0]!.text); n++) run = await nearLimit()
  const { heard, service, streams } = run
  t.match(heard[0]!.body, {
    status: 'degraded',
    previous: 'ok',
    recommendations: [{ code: 'connection-limit' }]
  })
  t.equal(
    heard[0]!.headers['bellwire-signature'],
    `v1=${createHmac('sha256', SECRET).update(`${heard[0]!.headers['bellwire-timestamp']}.${heard[0]!.text}`).digest('hex')}`
  )
  const { status, body } = await publish(service, { to: { user: 'u3' } })
  t.equal(status, 201)
  await streams[3]!.until((frame) => frame.data.item?.id === body.id)
  const monitor = await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })
  t.equal(monitor.body.node, heard[0]!.body.node)
  t.match(
    heard[0]!.body.text,
    new RegExp(
      `^Bellwire ${monitor.body.node} is degraded \\(it was ok\\): 9 of 10 connections are open\\. Raise`
    )
  )
  const changes = service
    .output()
    .split('\n')
    .filter((line) => line.includes('status changed'))
  t.equal(changes.length, 1)
  t.match(JSON.parse(changes[0]!), {
    level: 40,
    status: 'degraded',
    previous: 'ok',
    recommendations: ['connection-limit'],
    msg: 'status changed from ok to degraded'
  })
  t.equal(await service.kill('SIGTERM'), 0)
  t.notMatch(service.output(), /in-the-address|a-secret-that-signs/)
})
