import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import tap, { test } from 'tap'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/free-port.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { call, MONITOR_KEY, openStream, publish, startService, tokenOf } from './harness.ts'

const service = await startService(tap)

const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find((file) =>
  existsSync(file)
)

test('behind nginx defaults (HTTP/1.0 upstream, buffering on) frames arrive at once', {
  skip: nginx ? false : 'nginx not found: apt-get install nginx-light'
}, async (t) => {
  const dir = tempDir(t)
  const port = await freePort()
  mkdirSync(path.join(dir, 'logs'))
  writeFileSync(
    path.join(dir, 'nginx.conf'),
    `daemon off; pid ${dir}/pid; error_log ${dir}/error.log; worker_processes 1;
     events { worker_connections 64; }
     http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
       server { listen 127.0.0.1:${port}; location / { proxy_pass ${service.url}; } } }`
  )
  const args = ['-c', path.join(dir, 'nginx.conf'), '-p', dir, '-e', path.join(dir, 'error.log')]
  const child = spawn(nginx!, args, { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGQUIT')
    await once(child, 'exit')
  })
  await eventually(() =>
    fetch(`http://127.0.0.1:${port}/healthz`).then(
      (response) => response.ok,
      () => false
    )
  )
  const stream = await openStream(t, `http://127.0.0.1:${port}/v1/stream`, {
    token: tokenOf('u1'),
    headers: { 'accept-encoding': 'gzip' }
  })
  t.equal(stream.headers['content-encoding'], undefined)
  await stream.until((f) => f.event === 'ready')
  for (let n = 0; n < 3; n++) {
    await publish(service, { to: { user: 'u1' }, data: { n } })
    await stream.until((f) => f.data.item?.data?.n === n)
  }
  stream.close()
})

test('independent clients receive the same events', async (t) => {
  const url = `${service.url}/v1/stream`
  const headers = { authorization: `Bearer ${tokenOf('u1')}` }
  const heard: Record<'eventsource' | 'client' | 'curl', string[]> = {
    eventsource: [],
    client: [],
    curl: []
  }

  const source = new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } })
  })
  t.teardown(() => source.close())
  source.addEventListener('notification', (event) =>
    heard.eventsource.push(`${event.lastEventId} ${event.data}`)
  )
  const client = createEventSource({
    url,
    headers,
    onMessage: ({ event, id, data }) =>
      event === 'notification' && heard.client.push(`${id} ${data}`)
  })
  t.teardown(() => client.close())
  const curl = spawn('curl', ['-sN', '-H', `authorization: ${headers.authorization}`, url])
  t.teardown(() => curl.kill())
  let text = ''
  curl.stdout.on('data', (chunk) => {
    text += chunk
    heard.curl = [...text.matchAll(/event: notification\ndata: ([^\n]*)\nid: ([^\n]*)\n\n/g)].map(
      (match) => `${match[2]} ${match[1]}`
    )
  })
  await once(source, 'ready').catch(() => {})
  await eventually(() => text.includes('event: ready') && client.readyState === 'open')
  for (let n = 0; n < 20; n++)
    await publish(service, { to: { user: 'u1' }, title: `ünïcödé ${n} \u2028 \r\n data: forged` })
  await eventually(() => Object.values(heard).every((list) => list.length === 20))
  t.same(heard.client, heard.eventsource)
  t.same(heard.curl, heard.eventsource)
})

test('pipelined stream requests on one socket leave no connection behind', async (t) => {
  const { port, hostname } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.on('error', () => {})
  socket.write(
    `GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${tokenOf('u1')}\r\n\r\n`.repeat(
      50
    )
  )
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  socket.destroy()
  await eventually(
    async () =>
      (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
        .active === 0
  )
  t.equal((await call('GET', `${service.url}/healthz`)).status, 200)
})

test('clients that leave during authentication, or at once, leave no connection behind', async (t) => {
  const { port, hostname } = new URL(service.url)
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        const socket = connect(Number(port), hostname)
        socket.on('error', () => {})
        socket.resume()
        await once(socket, 'connect')
        socket.write(
          `GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${tokenOf(`u${n}`)}\r\n\r\n`
        )
        if (n % 3 === 0) socket.resetAndDestroy()
        else if (n % 3 === 1) setImmediate(() => socket.destroy())
        else socket.end()
        await new Promise((resolve) =>
          socket.destroyed ? resolve(null) : socket.once('close', resolve)
        )
      })
    )
  }
  await eventually(
    async () =>
      (await call('GET', `${service.url}/monitor`, { key: MONITOR_KEY })).body.connections
        .active === 0
  )
  t.pass('no connection is left')
})
