import t from 'tap'
import { jwt } from '../fixtures/jwt.ts'
import { call, MONITOR_KEY, openStream, type Service, startService, tokenOf } from './harness.ts'

const behind = (await startService(t, {
  env: { STORE: 'memory', TRUST_PROXY: '1', MAX_CONNECTIONS_PER_IP: '1' }
})) as Service
const stream = (headers: Record<string, string>, user: string) =>
  openStream(t, `${behind.url}/v1/stream`, { token: tokenOf(user), headers })

const FORMS = [
  [
    '203.0.113.7',
    '203.0.113.7:1111',
    '"203.0.113.7:2222"',
    '::ffff:203.0.113.7',
    '[::ffff:203.0.113.7]:3333'
  ],
  [
    '2001:db8::7',
    '[2001:db8::7]',
    '"[2001:db8::7]:4711"',
    '[2001:DB8:0:0::7]:1',
    '2001:db8::7%eth0'
  ],
  ['198.51.100.9, 203.0.113.8:1', ' , 203.0.113.8 ', 'unknown, 203.0.113.8:5'],
  ['unknown', '_hidden', 'a'.repeat(20_000)]
]

for (const [first, ...others] of FORMS)
  t.test(`one address is one address, however a proxy writes it: ${first}`, async (t) => {
    const open = await stream({ 'x-forwarded-for': first! }, 'ann')
    await open.until((f) => f.event === 'ready')
    for (const form of others) {
      const refused = await stream({ 'x-forwarded-for': form }, 'bob')
      t.match((await refused.until(() => true)).data, { reason: 'limit' }, form.slice(0, 60))
    }
    const { connections } = (
      await call('GET', `${behind.url}/monitor/connections`, { key: MONITOR_KEY })
    ).body
    t.ok(
      connections.every(({ remoteAddress }: { remoteAddress: string }) => remoteAddress.length < 40)
    )
    open.close()
    await open.ended
  })

t.test(
  'a page counts as same-origin when trusted proxies say so, in every forwarded-header form',
  async (t) => {
    const cookie = `session=${jwt({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 60 })}`
    const mark = async (origin: string, headers: Record<string, string>): Promise<number> =>
      (
        await call('POST', `${behind.url}/v1/inbox/read`, {
          body: { ids: [] },
          headers: { cookie, origin, ...headers }
        })
      ).status
    const host = { 'x-forwarded-host': 'app.example', 'x-forwarded-proto': 'https' }
    t.equal(await mark('https://app.example', host), 200)
    t.equal(await mark('https://app.example', { ...host, 'x-forwarded-proto': 'HTTPS' }), 200)
    t.equal(await mark('https://app.example', { ...host, 'x-forwarded-proto': 'https,http' }), 200)
    t.equal(await mark('https://app.example', { ...host, 'x-forwarded-proto': 'wss' }), 200)
    t.equal(
      await mark('https://app.example', { ...host, 'x-forwarded-host': 'app.example:443' }),
      200
    )
    t.equal(
      await mark('https://app.example', {
        ...host,
        'x-forwarded-host': 'app.example, inner.example'
      }),
      200
    )
    t.equal(await mark('https://app.example', { ...host, 'x-forwarded-port': '80' }), 200)
    t.equal(await mark('https://app.example:8443', { ...host, 'x-forwarded-port': '8443' }), 200)
    t.equal(
      await mark('https://app.example:8443', { ...host, 'x-forwarded-host': 'app.example:8443' }),
      200
    )
    t.equal(await mark('http://app.example', host), 403, 'another scheme')
    t.equal(
      await mark('https://app.example', { ...host, 'x-forwarded-port': '8443' }),
      403,
      'another port'
    )
    t.equal(
      await mark('https://inner.example', {
        ...host,
        'x-forwarded-host': 'app.example, inner.example'
      }),
      403
    )
  }
)
