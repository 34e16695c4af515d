import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import { type Test, test } from 'tap'
import type { Credentials } from '../../src/auth/identity.ts'
import { createJwtVerifier } from '../../src/auth/jwt.ts'
import { KeySet } from '../../src/auth/key-set.ts'
import { createKeyring } from '../../src/auth/keyring.ts'
import { SessionLookUp } from '../../src/auth/session-lookup.ts'
import { BoundedCache, boundedCaches, type CacheName } from '../../src/bounds/bounded-cache.ts'
import { CACHE_BYTES } from '../../src/bounds/limits.ts'
import { Hub } from '../../src/delivery/hub.ts'
import { DeliveryRecords, rememberedTopics } from '../../src/monitoring/delivery-records.ts'
import { MinuteLines } from '../../src/monitoring/minute-lines.ts'
import { SignIns } from '../../src/monitoring/sign-ins.ts'
import auth from '../../src/plugins/auth.ts'
import problems from '../../src/plugins/problems.ts'
import rateLimit from '../../src/plugins/rate-limit.ts'
import { openStore } from '../../src/stores/open-store.ts'
import { RULES } from '../auth/parties.ts'
import { observe } from '../fixtures/observe.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const long = (n: number): string => `${n}-`.padEnd(128, 'x')
/** As many of the longest names as one subscriber may have, sliced from a far longer text. */
const names = (n: number, most = 200): string[] =>
  Array.from({ length: most }, (_, i) => long(n * most + i))
    .join(',')
    .split(',')
const store = { revokedAt: async () => 0 }
const observer = new SignIns(() => {})

/**
 * For each cache: fills the real one beyond its limit, as a hostile caller would. Returns the object
 * that keeps the cache alive.
 */
const FEEDS = {
  tokens: async (t) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const key = { ...publicKey.export({ format: 'jwk' }), alg: 'EdDSA' }
    const server = createServer((_, response) => response.end(JSON.stringify({ keys: [key] })))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const keySet = new KeySet(url, observer)
    t.teardown(() => keySet.close())
    const verify = createJwtVerifier({ ...RULES, jwtSecrets: [], keySet, store, observer })!
    for (let n = 0; n < 500; n++) {
      const head = `${b64({ alg: 'EdDSA' })}.${b64({ sub: long(n), topics: names(n) })}`
      await verify(`${head}.${sign(null, Buffer.from(head), privateKey).toString('base64url')}`)
    }
    return verify
  },
  sessions: async (t) => {
    let n = 0
    const server = createServer((_, response) =>
      response.end(JSON.stringify({ user: long(n++), topics: names(n) }))
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const lookUp = new SessionLookUp({ url, store, observer })
    for (let k = 0; k < 320; k++) await lookUp.identify({ cookie: `session=${k}` })
    return lookUp
  },
  sessionRefusals: async (t) => {
    const server = createServer((_, response) => response.writeHead(401).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const lookUp = new SessionLookUp({ url, store, observer })
    for (let k = 0; k < 50; k++)
      await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          lookUp.identify({ cookie: `made-up=${k}-${n}` }).catch(() => {})
        )
      )
    return lookUp
  },
  rates: async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    const identity = {
      authenticate: async ({ authorization }: Credentials) => ({
        subscriber: { user: String(authorization), topics: [] },
        via: 'bearer' as const,
        redeem: async () => {}
      })
    }
    const keys = createKeyring([])
    await app.register(problems)
    await app.register(auth, {
      identity,
      producers: keys,
      operators: keys,
      corsOrigins: [],
      publishScopes: []
    })
    await app.register(rateLimit, { rateLimit: 5, publishRate: 0 })
    const config = app.rateLimits.subscriber
    app.get('/', { onRequest: app.requireSubscriber, config }, async () => '')
    for (let n = 0; n < 1500; n++)
      await app.inject({ url: '/', headers: { authorization: `${n}`.padEnd(4000, 'x') } })
    return app
  },
  deliveryRecords: async () => {
    const records = new DeliveryRecords()
    for (let n = 0; n < 2600; n++) {
      const publication = {
        id: `n${n}`,
        to: { users: names(n) },
        producer: 'app',
        createdAt: n,
        ephemeral: true
      }
      records.accepted(publication as unknown as Parameters<DeliveryRecords['accepted']>[0], 1)
    }
    return records
  },
  connectionRecords: async () => {
    const records = new DeliveryRecords()
    for (let n = 0; n < 5000; n++) {
      const reading = { user: long(n), openedAt: 0, closedAt: 1, reason: null, seq: 0 }
      records.closed({ connection: `node-${n}`, ...reading, ...rememberedTopics(names(n)) })
    }
    return records
  },
  revocations: async (t) => {
    const memory = await openStore({ store: 'memory' } as Parameters<typeof openStore>[0])
    const settings = {
      heartbeatMs: 15_000,
      maxBufferedBytes: 1 << 20,
      stallMs: 30_000,
      maxConnections: 0
    }
    const more = { maxConnectionsPerUser: 0, maxConnectionsPerIp: 0, maxConnectionAgeMs: 3_600_000 }
    const hub = new Hub(memory, 'node', {} as never, { ...settings, ...more }, observe())
    t.teardown(() => hub.stop())
    for (let n = 0; n < 25_000; n++) await memory.revoke(long(n))
    return hub
  },
  lines: async () => {
    const lines = new MinuteLines(60_000, () => {})
    for (let n = 0; n < 3000; n++)
      lines.add(long(n), 1, { route: 'GET /', message: 'x'.repeat(500) })
    return lines
  }
} satisfies Record<CacheName, (t: Test) => Promise<object>>

test('a cache whose keys callers choose stays within its byte limit, whatever they send', async (t) => {
  for (const [name, feed] of Object.entries(FEEDS) as [CacheName, (t: Test) => Promise<object>][]) {
    collect()
    const before = process.memoryUsage().heapUsed
    const known = new Set(boundedCaches())
    const holder = await feed(t)
    const filled = [...boundedCaches()].filter((cache) => !known.has(cache) && cache.name === name)
    t.equal(filled.length, 1, `${name}: one cache was created`)
    for (const { bytes, maxBytes } of filled) {
      t.equal(maxBytes, CACHE_BYTES[name])
      t.ok(
        bytes > maxBytes / 2,
        `${name}: it is more than half full (${bytes} of ${maxBytes} bytes)`
      )
      t.ok(bytes <= maxBytes, `${name}: ${bytes} bytes do not exceed ${maxBytes}`)
    }
    await setImmediate()
    collect()
    const grown = process.memoryUsage().heapUsed - before
    // The heap also holds what else the parts and the process need.
    t.ok(
      grown < 1.25 * CACHE_BYTES[name] + 6_000_000,
      `${name}: ${grown} bytes of heap agree with the estimate`
    )
    t.ok(holder)
  }
})

test('a cache that is no longer used leaves the registry, so services can come and go in one process', async (t) => {
  const before = [...boundedCaches()].length
  for (let n = 0; n < 1000; n++) new BoundedCache('lines', { sizeOf: () => 1 })
  await setImmediate()
  collect()
  await setImmediate()
  t.ok([...boundedCaches()].length <= before + 10)
})

test('an entry expires on time, is measured again when it is set again, and is not stored if it exceeds the limit', async (t) => {
  const evicted: string[] = []
  const onEvict = (_: object, key: string): void => void evicted.push(key)
  const cache = new BoundedCache<{ bytes: number }>('lines', {
    sizeOf: ({ bytes }) => bytes,
    onEvict
  })
  const value = { bytes: 100 }
  cache.set('a', value)
  const { bytes } = cache
  value.bytes = 300
  cache.set('a', value)
  t.equal(cache.bytes, bytes + 200)
  cache.set('a', { bytes: 1 }, 0)
  t.equal(cache.get('a'), undefined, 'a lifetime of 0 means no time, not no expiry')
  cache.set('huge', { bytes: cache.maxBytes })
  t.equal(cache.get('huge'), undefined)
  const half = { bytes: Math.floor(cache.maxBytes / 2) - 1000 }
  for (const key of ['b', 'c']) cache.set(key, half)
  cache.get('b')
  cache.set('d', half)
  t.strictSame(
    [evicted, [...cache.values()].length, cache.get('b')],
    [['c'], 2, half],
    'the entry unused for longest is evicted'
  )
})
