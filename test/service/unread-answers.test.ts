import { connect, type Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import {
  call,
  MONITOR_KEY,
  PUBLISH_KEY,
  rawPeer,
  requestHead,
  startService,
  tokenOf
} from './harness.ts'

const service = await startService(t, {
  env: { RATE_LIMIT: '0', STALL_MS: '1000', STORE: 'memory' }
})
const token = tokenOf('u1')
const { cursor: start } = (await call('GET', `${service.url}/v1/changes`, { key: token })).body
const notifications = Array.from({ length: 200 }, (_, n) => ({
  to: { user: 'u1' },
  type: 't',
  data: { n, text: 'x'.repeat(15_000) }
}))
await call('POST', `${service.url}/v1/notifications/batch`, {
  key: PUBLISH_KEY,
  body: { notifications }
})

const slowAnswers = async (): Promise<number> =>
  (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.errors.byCode[
    'slow-answer'
  ]?.count ?? 0

t.test(
  'a poll answer stays near one mebibyte, and the next ones bring the rest, each event once',
  async (t) => {
    let since = start
    let more = true
    const seen: number[] = []
    while (more) {
      const { body, text } = await call(
        'GET',
        `${service.url}/v1/changes?limit=500&since=${since}`,
        { key: token }
      )
      t.ok(text.length < 1.2 * 1024 * 1024, `${text.length} bytes`)
      t.ok(body.events.length > 0)
      for (const { event, data } of body.events)
        if (event === 'notification') seen.push(data.item.data.n)
      since = body.cursor
      more = body.more
    }
    t.strictSame(
      seen,
      notifications.map(({ data }) => data.n)
    )
    const waiting = call('GET', `${service.url}/v1/changes?limit=500&wait=30&since=${since}`, {
      key: token
    })
    await eventually(
      async () =>
        (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
          .byTransport.poll === 1
    )
    await call('POST', `${service.url}/v1/notifications/batch`, {
      key: PUBLISH_KEY,
      body: { notifications }
    })
    const { text } = await waiting
    t.ok(text.length < 1.2 * 1024 * 1024, `${text.length} bytes of what came together`)
  }
)

t.test('pipelined requests are answered one after another, in order', async (t) => {
  const heads = Array.from({ length: 300 }, (_, n) =>
    requestHead(`/v1/inbox/counts?n=${n}`, token, [`x-request-id: r-${n}`])
  )
  const body = JSON.stringify({ to: { user: 'u2' }, type: 't' })
  const post = requestHead(
    '/v1/notifications',
    PUBLISH_KEY,
    ['content-type: application/json', 'content-length: '],
    'POST'
  )
  const last = requestHead('/v1/stream', token, ['x-request-id: last'])
  const peer = await rawPeer(
    t,
    service,
    [
      ...heads,
      post.replace('length: ', `length: ${body.length}`) + body,
      requestHead('/nowhere'),
      last
    ].join('')
  )
  const text = await peer.until(/event: ready/)
  t.strictSame(
    [...text.matchAll(/x-request-id: r-(\d+)/g)].map(([, n]) => Number(n)),
    heads.map((_, n) => n)
  )
  t.match(text, /HTTP\/1\.1 201 [\s\S]*HTTP\/1\.1 404 [\s\S]*x-request-id: last/)
  peer.socket.destroy()
})

t.test('pipelined publishes and what is between them are carried out in order', async (t) => {
  const publish = (n: number): string => {
    const body = JSON.stringify({ to: { user: 'u3' }, type: 't', data: { n } })
    const headers = ['content-type: application/json', `content-length: ${body.length}`]
    return requestHead('/v1/notifications', PUBLISH_KEY, headers, 'POST') + body
  }
  const erase = requestHead('/v1/users/u3', PUBLISH_KEY, [], 'DELETE')
  const burst = (from: number): string[] => Array.from({ length: 150 }, (_, n) => publish(from + n))
  const sent = [
    ...burst(0),
    erase,
    ...burst(150),
    requestHead('/v1/inbox?limit=100', tokenOf('u3'))
  ]
  const peer = await rawPeer(t, service, sent.join(''))
  const text = await peer.until(/"n":200/)
  t.strictSame(
    [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status)),
    [...Array(150).fill(201), 204, ...Array(150).fill(201), 200]
  )
  const ids = [...text.matchAll(/location: \/v1\/notifications\/(\S+)/gi)].map(([, id]) => id)
  const { items, counts } = JSON.parse(text.slice(text.lastIndexOf('\r\n\r\n')))
  t.equal(counts.unread, 150, 'what was published before the erasure is gone, and nothing else')
  t.strictSame(
    items.map(({ id }: { id: string }) => id),
    ids.slice(200).reverse()
  )
  peer.socket.destroy()
})

t.test('an invalid request is answered after the valid ones before it', async (t) => {
  const body = JSON.stringify({ to: { user: 'u4' }, type: 't' })
  const headers = ['content-type: application/json', `content-length: ${body.length}`]
  const publish = requestHead('/v1/notifications', PUBLISH_KEY, headers, 'POST') + body
  for (const invalid of ['GARBAGE\r\n\r\n', requestHead('/healthz', undefined, ['bad header'])]) {
    const peer = await rawPeer(t, service, publish + publish + invalid)
    await peer.until(/HTTP\/1\.1 400 /)
    t.match(peer.text(), /HTTP\/1\.1 201 [\s\S]*HTTP\/1\.1 201 [\s\S]*HTTP\/1\.1 400 /)
    peer.socket.end()
    await peer.closed
  }
})

t.test(
  'a client that never reads its answers is disconnected and counted; one that reads late gets everything',
  async (t) => {
    const before = await slowAnswers()
    const paused: Socket[] = []
    t.teardown(() => {
      for (const socket of paused) socket.destroy()
    })
    const port = Number(new URL(service.url).port)
    for (let n = 0; n < 5; n++) {
      const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
      paused.push(socket.pause())
      socket.write(requestHead('/v1/inbox?limit=100', token).repeat(30))
    }
    await eventually(async () => (await slowAnswers()) === before + 5)
    const reader = await rawPeer(t, service, requestHead('/v1/inbox?limit=100', token).repeat(8))
    await eventually(() => reader.text().match(/HTTP\/1\.1 200/g)?.length === 8)
    // The next poll waits longer than a stalled answer may, and stays open.
    reader.socket.write(
      requestHead('/v1/changes?wait=2&since=0-0', token).replace(
        'since=0-0',
        `since=${await headCursor()}`
      )
    )
    await reader.until(/"events":\[\]/)
  }
)

const headCursor = async (): Promise<string> =>
  (await call('GET', `${service.url}/v1/inbox`, { key: token })).body.cursor
