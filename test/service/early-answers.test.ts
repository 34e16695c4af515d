import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { PUBLISH_KEY, rawPeer, startService } from './harness.ts'

/** How often each case runs; long runs set more. */
const TRIES = Number(process.env['SOAK_ROUNDS'] ?? 1)
const BODY = 10 * 1024 * 1024
const PIECE = Buffer.alloc(64 * 1024, ' ')

const service = await startService(t, { env: { STORE: 'memory' } })
const { port, hostname } = new URL(service.url)

interface Refused {
  readonly head: string
  readonly status: number
  readonly body?: number
}
const auth = `authorization: Bearer ${PUBLISH_KEY}\r\n`
const json = 'content-type: application/json\r\n'
const REFUSED: readonly Refused[] = [
  { status: 401, head: `POST /v1/notifications HTTP/1.1\r\nhost: x\r\n${json}` },
  { status: 404, head: `POST /nowhere HTTP/1.1\r\nhost: x\r\n${json}` },
  { status: 405, head: `POST /v1/stream HTTP/1.1\r\nhost: x\r\n${json}` },
  { status: 413, head: `POST /v1/notifications HTTP/1.1\r\nhost: x\r\n${auth}${json}` },
  {
    status: 415,
    head: `POST /v1/notifications HTTP/1.1\r\nhost: x\r\n${auth}content-type: text/plain\r\n`
  },
  // Bytes above the limit of a batch.
  {
    status: 413,
    head: `POST /v1/notifications/batch HTTP/1.1\r\nhost: x\r\n${auth}${json}`,
    body: 32 * 1024 * 1024 + BODY
  }
]

/**
 * Sends the whole body, its beginning in one write with the head, even if the answer comes earlier.
 * Resolves to the status.
 */
async function send(
  { head, body = BODY }: Refused,
  chunked: boolean,
  beside: number
): Promise<number> {
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
  const failed = once(socket, 'close').then(() =>
    Promise.reject(new Error(`cut off after ${text.slice(0, 15)}`))
  )
  failed.catch(() => {})
  let text = ''
  const answered = new Promise<void>((resolve) =>
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      if (text.includes('"status":')) resolve()
    })
  )
  const write = async (bytes: string | Buffer): Promise<void> => {
    if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), failed])
  }
  const chunk = (bytes: Buffer): Buffer =>
    chunked
      ? Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
      : bytes
  await once(socket, 'connect')
  const start = Buffer.from(
    `${head}${chunked ? 'transfer-encoding: chunked' : `content-length: ${body}`}\r\n\r\n`
  )
  await write(beside > 0 ? Buffer.concat([start, chunk(PIECE.subarray(0, beside))]) : start)
  for (let sent = beside; sent < body; sent += PIECE.length)
    await write(chunk(PIECE.subarray(0, body - sent)))
  // The body was read to its end, so the next request on the connection is read.
  await write(chunked ? '0\r\n\r\n' : '')
  await Promise.race([answered, failed])
  const first = Number(text.slice(9, 12))
  if (/connection: keep-alive/i.test(text)) {
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    while (!text.includes('HTTP/1.1 200')) await Promise.race([once(socket, 'data'), failed])
  }
  socket.destroy()
  return first
}

t.test(
  'a client refused before the end of its body receives the reason and may finish sending',
  async (t) => {
    for (const refused of REFUSED)
      for (const chunked of [false, true])
        for (const beside of [0, 1_000, 60_000]) {
          // Content-Length alone shows that it is too large, and more is left than the service
          // reads.
          if (refused.body !== undefined && !chunked) continue
          const name = `${refused.head.split(' HTTP', 1)} ${chunked ? 'in chunks' : 'with its length'}, ${beside} bytes beside the head`
          for (let n = 0; n < TRIES; n += 4) {
            const group = Array.from({ length: Math.min(4, TRIES - n) }, () =>
              send(refused, chunked, beside)
            )
            const statuses = await Promise.all(
              group.map((one) => one.catch((error: Error) => error.message))
            )
            if (statuses.some((status) => status !== refused.status))
              return t.fail(`${name}: ${statuses}`)
          }
          t.pass(name)
        }
  }
)

t.test('a request without Host, or with an unknown Expect, gets a problem document', async (t) => {
  const problem = (status: number): RegExp =>
    new RegExp(
      `^HTTP/1\\.1 ${status} [\\s\\S]*x-request-id: [\\s\\S]*problem\\+json[\\s\\S]*"status":${status}`,
      'i'
    )
  await (await rawPeer(t, service, 'GET /healthz HTTP/1.1\r\n\r\n')).until(problem(400))
  await (await rawPeer(t, service, 'GET /v1/inbox HTTP/1.1\r\n\r\n')).until(problem(400))
  await (await rawPeer(t, service, 'GET /healthz HTTP/1.0\r\n\r\n')).until(/^HTTP\/1\.1 200 /)
  const post = `POST /v1/notifications HTTP/1.1\r\nhost: x\r\n${auth}${json}content-length: 34\r\n`
  await (await rawPeer(t, service, `${post}expect: tea\r\n\r\n`)).until(problem(417))
  const told = await rawPeer(t, service, `${post}expect: 100-continue\r\n\r\n`)
  await told.until(/^HTTP\/1\.1 100 /)
  told.socket.write('{"to":{"everyone":true},"type":"t"}'.slice(0, 34))
  await told.until(/HTTP\/1\.1 400 /)
})
