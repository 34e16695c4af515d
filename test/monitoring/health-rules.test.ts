import { test } from 'tap'
import { CALM_MS, LASTING_MS } from '../../src/bounds/limits.ts'
import { Health } from '../../src/monitoring/health.ts'
import type { HealthInputs } from '../../src/monitoring/health-inputs.ts'
import type { Rule } from '../../src/monitoring/health-rules/rule.ts'
import { RULES } from '../../src/monitoring/health-rules.ts'

const GIB = 1024 ** 3
const TROUBLE = {
  setting: 'AUTH_JWKS_URL',
  origin: 'https://issuer.example',
  reason: 'it answered 503 instead of a key set'
}
const MINUTE = 60_000
/** A healthy service: a thousand streams of five hundred users. */
const WELL: HealthInputs = {
  signIns: { failingMs: 0, trouble: undefined, keySet: undefined },
  storeHealthy: true,
  storeReason: undefined,
  storeFailures: 0,
  storeWarnings: [],
  publishAckMs: 2,
  commitMs: 1,
  disk: { freeBytes: 50 * GIB, totalBytes: 100 * GIB },
  draining: false,
  developmentKeys: [],
  ownKeys: ['PUBLISH_KEYS'],
  publicAddress: true,
  active: 1000,
  users: 500,
  maxConnections: 10_000,
  openFiles: 1050,
  openFileLimit: 10_200,
  stale: 0,
  slow: 0,
  bufferedBytes: 0,
  memoryBytes: 4 * GIB,
  errorsPerMinute: 0,
  lastErrorCode: undefined,
  resetsPerMinute: 0,
  undonePerMinute: 0,
  undoneCursors: 0,
  slowClosesPerMinute: 0,
  arrivalsPerMinute: 20,
  mostActivePerMinute: 1000,
  eventLoopLagMs: 1,
  heartbeatLagMs: 1,
  heartbeatMs: 15_000,
  silenceMs: 1000,
  longestSilenceMs: 60_000,
  sharedLifetime: null,
  rejections: null,
  onlyAddress: null,
  proxyTrusted: true
}

interface Case {
  /** Makes the rule fire. */
  readonly bad: Partial<HealthInputs>
  /** Worse than healthy, but not bad: it must not fire. */
  readonly bearable: Partial<HealthInputs>
  /**
   * Between the two thresholds, if they differ: a rule that fires keeps firing, and one that does
   * not stays quiet.
   */
  readonly between?: Partial<HealthInputs>
  readonly severity: 'info' | 'warning' | 'critical'
  readonly message: RegExp
  readonly action: RegExp
}

/** A store's warning about a setting of Redis. The rule must ignore a warning with another code. */
const setting = (code: string, other: string): Case => ({
  bad: { storeWarnings: [{ code, message: `it is ${code}`, action: 'change it' }] },
  bearable: { storeWarnings: [{ code: other, message: 'another', action: 'another' }] },
  severity: 'warning',
  message: new RegExp(`^it is ${code}$`),
  action: /^change it$/
})

const CASES: Readonly<Record<string, Case>> = {
  'store-failing': {
    bad: { storeHealthy: false, storeReason: 'the disk does not take writes' },
    bearable: { publishAckMs: 100 },
    severity: 'critical',
    message: /is not working: the disk does not take writes\.$/,
    action: /disk/
  },
  'events-undone': {
    bad: { undonePerMinute: 1, undoneCursors: 1 },
    bearable: { resetsPerMinute: 9 },
    severity: 'critical',
    message: /^1 connection came back with a cursor that this log never issued/,
    action: /restore an earlier state/
  },
  'redis-not-durable': setting('redis-not-durable', 'redis-evicts'),
  'redis-evicts': setting('redis-evicts', 'redis-outdated'),
  'redis-outdated': setting('redis-outdated', 'redis-not-durable'),
  'store-nearly-full': {
    bad: { disk: { freeBytes: 0.4 * GIB, totalBytes: 100 * GIB } },
    between: { disk: { freeBytes: 0.55 * GIB, totalBytes: 100 * GIB } },
    // A small disk, of which a fifth is free.
    bearable: { disk: { freeBytes: 0.2 * GIB, totalBytes: GIB } },
    severity: 'warning',
    message: /^410 MiB of 102400 MiB are free/,
    action: /RETENTION_DAYS/
  },
  'store-slow': {
    bad: { publishAckMs: 300, commitMs: 280 },
    between: { publishAckMs: 200, commitMs: 130 },
    bearable: { publishAckMs: 100 },
    severity: 'warning',
    message: /take at least 300 ms .*commits at least 280 ms/,
    action: /disk/
  },
  'sign-in-failing': {
    bad: { signIns: { failingMs: 31_000, trouble: TROUBLE, keySet: undefined } },
    bearable: { signIns: { failingMs: 20_000, trouble: TROUBLE, keySet: undefined } },
    severity: 'critical',
    message:
      /^Every sign-in has failed for 31 s\. AUTH_JWKS_URL \(https:\/\/issuer\.example\): it answered 503/,
    action: /^Check AUTH_JWKS_URL/
  },
  'key-set-outdated': {
    bad: {
      signIns: {
        failingMs: 0,
        trouble: undefined,
        keySet: { trouble: TROUBLE, awayMs: 11 * MINUTE, leftMs: 60 * MINUTE }
      }
    },
    between: {
      signIns: {
        failingMs: 0,
        trouble: undefined,
        keySet: { trouble: TROUBLE, awayMs: 6 * MINUTE, leftMs: 1 }
      }
    },
    bearable: {
      signIns: {
        failingMs: 0,
        trouble: undefined,
        keySet: { trouble: TROUBLE, awayMs: 4 * MINUTE, leftMs: 1 }
      }
    },
    severity: 'warning',
    message:
      /Fetching the key set has been failing for 11 min\. AUTH_JWKS_URL \(https:\/\/issuer\.example\): it answered 503.* valid for another 60 min\.$/,
    action: /^Check AUTH_JWKS_URL/
  },
  'development-credentials': {
    bad: { developmentKeys: ['MONITOR_KEYS'], publicAddress: false },
    // Someone tries Bellwire on their own machine.
    bearable: {
      developmentKeys: ['PUBLISH_KEYS', 'MONITOR_KEYS'],
      ownKeys: [],
      publicAddress: false
    },
    severity: 'critical',
    message:
      /^Development keys, which are public, are in use for MONITOR_KEYS, next to your own PUBLISH_KEYS\.$/,
    action: /NODE_ENV=production/
  },
  'rejected-publishes': {
    bad: { rejections: { producer: 'shop', problem: 'validation', refused: 10, asked: 200 } },
    between: { rejections: { producer: 'shop', problem: 'validation', refused: 6, asked: 200 } },
    // Many were refused, but few of all publishes.
    bearable: { rejections: { producer: 'shop', problem: 'validation', refused: 20, asked: 1000 } },
    severity: 'warning',
    message:
      /^10 of 200 publishes were refused in the last minute.* producer shop, most often for validation\.$/,
    action: /publish\.rejectedBy/
  },
  'no-publishes': {
    bad: { silenceMs: 20 * 60_000 },
    // Not much longer than the longest pause so far.
    bearable: { silenceMs: 20 * 60_000, longestSilenceMs: 10 * 60_000 },
    severity: 'info',
    message: /^Nothing was published for 20 min; the longest pause since the start was 60 s/,
    action: /producers/
  },
  'slow-closes': {
    bad: { slowClosesPerMinute: 11 },
    between: { slowClosesPerMinute: 7 },
    // Four of ten connections are too few to mean anything.
    bearable: { slowClosesPerMinute: 4, active: 10, mostActivePerMinute: 10 },
    severity: 'warning',
    message: /^11 of 1000 connections were closed/,
    action: /STALL_MS/
  },
  'slow-readers': {
    bad: { slow: 120 },
    between: { slow: 70 },
    bearable: { slow: 9, active: 10 },
    severity: 'warning',
    message: /^120 of 1000 connections are behind/,
    action: /buffering/
  },
  'stale-connections': {
    bad: { stale: 120 },
    between: { stale: 70 },
    bearable: { stale: 9, active: 10 },
    severity: 'warning',
    message: /^120 of 1000 connections have acknowledged nothing/,
    action: /network/
  },
  'connection-limit': {
    bad: { active: 9100 },
    between: { active: 8500 },
    bearable: { active: 7900 },
    severity: 'warning',
    message: /^9100 of 10000 connections are open\.$/,
    action: /MAX_CONNECTIONS/
  },
  'buffered-bytes': {
    bad: { bufferedBytes: 1.2 * GIB },
    between: { bufferedBytes: 0.8 * GIB },
    bearable: { bufferedBytes: 0.5 * GIB },
    severity: 'warning',
    message: /^1229 MiB are buffered for slow clients, 30 %/,
    action: /MAX_BUFFERED_BYTES/
  },
  resets: {
    bad: { resetsPerMinute: 40 },
    between: { resetsPerMinute: 20 },
    bearable: { resetsPerMinute: 9 },
    severity: 'warning',
    message: /^40 streams could not resume/,
    action: /RETENTION_DAYS/
  },
  'reconnect-storm': {
    bad: { arrivalsPerMinute: 2500 },
    between: { arrivalsPerMinute: 1500 },
    // After a restart every client returned once, and all have left since.
    bearable: { arrivalsPerMinute: 1100, active: 0 },
    severity: 'warning',
    message: /^2500 streams arrived in the last minute; at most 1000 were open at once\.$/,
    action: /connections\.closed/
  },
  'same-interval': {
    bad: { sharedLifetime: { seconds: 60, ended: 40, share: 0.9 } },
    between: { sharedLifetime: { seconds: 60, ended: 40, share: 0.4 } },
    // Only three streams ended recently: that they were equally old is a coincidence.
    bearable: { sharedLifetime: { seconds: 60, ended: 3, share: 1 } },
    severity: 'warning',
    message: /^90 % of .* at the same age: 60 s\.$/,
    action: /proxy_read_timeout of nginx/
  },
  'one-address': {
    bad: { onlyAddress: '10.0.0.7', proxyTrusted: false },
    bearable: { onlyAddress: '10.0.0.7', active: 60, users: 2 },
    severity: 'info',
    message: /^All 1000 connections, of 500 users, come from 10\.0\.0\.7\.$/,
    action: /ignores X-Forwarded-For.*TRUST_PROXY/
  },
  errors: {
    bad: { errorsPerMinute: 31, lastErrorCode: 'internal' },
    between: { errorsPerMinute: 20 },
    bearable: { errorsPerMinute: 9 },
    severity: 'warning',
    message: /^31 errors in the last minute, the last one: internal\.$/,
    action: /errors\.byCode/
  },
  'heartbeat-lag': {
    bad: { heartbeatLagMs: 2500 },
    between: { heartbeatLagMs: 1000 },
    bearable: { heartbeatLagMs: 400 },
    severity: 'warning',
    message: /2500 ms late/,
    action: /CPU/
  },
  'event-loop-lag': {
    bad: { eventLoopLagMs: 150 },
    between: { eventLoopLagMs: 70 },
    bearable: { eventLoopLagMs: 40 },
    severity: 'warning',
    message: /150 ms late on average/,
    action: /CPU/
  },
  'open-files': {
    bad: { openFiles: 9500 },
    between: { openFiles: 8500 },
    bearable: { openFiles: 8000 },
    severity: 'warning',
    message: /^9500 of 10200 file descriptors/,
    action: /ulimit -n/
  },
  draining: {
    bad: { draining: true },
    bearable: {},
    severity: 'info',
    message: /shutting down/,
    action: /No action needed/
  }
}

/** One rule by itself, on the test's own clock. */
function alone(rule: Rule) {
  const health = new Health([rule])
  let now = 1_000_000
  return {
    /** Evaluates the rule every second for `ms`; returns whether it fires at the end. */
    after(ms: number, inputs: Partial<HealthInputs>): boolean {
      for (const end = now + ms; now < end; now += 1000) health.assess({ ...WELL, ...inputs }, now)
      return health.last.recommendations.length > 0
    },
    health
  }
}

test('every health rule has a test case', async (t) => {
  t.strictSame(
    Object.keys(CASES),
    RULES.map(({ code }) => code)
  )
})

for (const rule of RULES) {
  const { bad, bearable, between, severity, message, action } = CASES[rule.code]!
  test(`${rule.code} fires, says what to do, keeps firing until it is calm, and clears`, async (t) => {
    const { after, health } = alone(rule)
    t.notOk(after(120_000, {}), 'it does not fire if all is well')
    t.notOk(after(120_000, bearable), 'it does not fire if it is bearable')
    const forMs = rule.forMs ?? 0
    if (forMs > 0) t.notOk(after(forMs, bad), 'not at once')
    t.ok(after(1000, bad), 'it fires')
    t.match(health.last.recommendations, [
      { code: rule.code, severity, message, action, since: Number }
    ])
    t.equal(health.last.status, { info: 'ok', warning: 'degraded', critical: 'critical' }[severity])
    if (between) t.ok(after(300_000, between), 'between the thresholds it goes on')
    const keepFiringForMs = rule.keepFiringForMs ?? CALM_MS
    if (keepFiringForMs > 0) {
      t.ok(after(keepFiringForMs, {}), 'a moment of calm does not clear it')
      t.ok(after(1000, bad), 'it comes back')
      t.ok(after(keepFiringForMs, {}), 'and the calm is counted again')
    }
    t.notOk(after(2000, {}), 'it clears')
    if (between) t.notOk(after(300_000, between), 'and between the thresholds it stays quiet')
  })
}

test('a figure that swings around a threshold changes the status once', async (t) => {
  const health = new Health()
  const changes: string[] = []
  health.onStatus(() => changes.push(health.last.status))
  for (let second = 0; second < 600; second++)
    health.assess({ ...WELL, active: second % 2 === 0 ? 9001 : 8999 }, second * 1000)
  t.strictSame(changes, ['degraded'])
  for (let second = 600; second < 700; second++) health.assess(WELL, second * 1000)
  t.strictSame(changes, ['degraded', 'ok'])
})

test('a rule with forMs does not fire for short bursts', async (t) => {
  const { after } = alone(RULES.find(({ code }) => code === 'event-loop-lag')!)
  for (let burst = 0; burst < 20; burst++) {
    t.notOk(after(LASTING_MS - 1000, { eventLoopLagMs: 500 }))
    t.notOk(after(2000, {}))
  }
})

test('a recommendation keeps the time when its condition began as long as its rule fires', async (t) => {
  const rule = RULES.find(({ code }) => code === 'slow-readers')!
  const { after, health } = alone(rule)
  const began = Date.now()
  after(LASTING_MS + 1000, { slow: 500 })
  const { since } = health.last.recommendations[0]!
  // The test's clock ran ahead of the real one.
  t.ok(Math.abs(began - LASTING_MS - since) < 2000, `${began - since} ms`)
  after(60_000, { slow: 600 })
  t.equal(health.last.recommendations[0]!.since, since)
  t.match(
    health.last.recommendations[0]!.message,
    /^600 of/,
    'but the message shows the current figure'
  )
})

test('slow-closes compares with the connections of the last minute, not with those still open', async (t) => {
  const health = new Health()
  health.assess({ ...WELL, slowClosesPerMinute: 8, active: 0 }, 0)
  t.strictSame(health.last.recommendations, [])
})

test('the most severe recommendation comes first and decides the status', async (t) => {
  const health = new Health()
  health.assess({ ...WELL, storeHealthy: false, errorsPerMinute: 100, draining: true }, 0)
  t.strictSame(
    health.last.recommendations.map(({ code }) => code),
    ['store-failing', 'errors', 'draining']
  )
  t.equal(health.last.status, 'critical')
})

test('a healthy store that fails requests counts as failing', async (t) => {
  const health = new Health()
  health.assess({ ...WELL, storeFailures: 3, storeReason: 'the disk does not take writes' }, 0)
  t.equal(health.last.status, 'critical')
  t.match(
    health.last.recommendations[0]!.message,
    'failed 3 requests in the last ten seconds: the disk does not take writes'
  )
})

test('development keys on a public address are critical, even if the operator has set no keys', async (t) => {
  const health = new Health()
  health.assess(
    { ...WELL, developmentKeys: ['PUBLISH_KEYS', 'MONITOR_KEYS', 'AUTH_JWT_SECRET'], ownKeys: [] },
    0
  )
  t.match(health.last, {
    status: 'critical',
    recommendations: [{ code: 'development-credentials', message: /others can reach/ }]
  })
})

test('same-interval names the proxy setting to change, by the age at which streams end', async (t) => {
  const action = (seconds: number, heartbeatMs: number): string => {
    const health = new Health()
    health.assess({ ...WELL, heartbeatMs, sharedLifetime: { seconds, ended: 100, share: 1 } }, 0)
    return health.last.recommendations[0]!.action
  }
  t.match(action(60, 60_000), 'set HEARTBEAT_MS to 30000 or less')
  t.match(action(60, 60_000), 'proxy_read_timeout of nginx')
  // Heartbeats come more often than that, so silence is not what ends the streams.
  t.match(action(100, 15_000), 'above MAX_CONNECTION_AGE_MS')
  t.match(action(100, 15_000), 'Proxy Read Timeout of Cloudflare')
  t.match(action(77, 15_000), 'a time-out of that length in each proxy')
})
