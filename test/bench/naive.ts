/**
 * The yardstick, what a team writes first: Fastify, a Map of topic → Set of replies,
 * `reply.raw.write(string)` each, an interval for each stream. No authorization, nothing durable,
 * no resumption. The frame is made once for all its readers.
 */
import Fastify, { type FastifyReply } from 'fastify'

interface Published {
  readonly to: { readonly user?: string; readonly topic?: string }
  readonly type: string
}

const heartbeatMs = Number(process.env['HEARTBEAT_MS'] ?? 15_000)
const app = Fastify({ logger: false })
const channels = new Map<string, Set<FastifyReply>>()
let id = 0

app.get<{ Querystring: { user: string; topics: string } }>('/stream', (request, reply) => {
  const names = [
    `user:${request.query.user}`,
    ...request.query.topics.split(',').map((topic) => `topic:${topic}`)
  ]
  reply.hijack()
  reply.raw.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    connection: 'keep-alive'
  })
  reply.raw.write('event: ready\ndata: {}\n\n')
  for (const name of names) {
    const replies = channels.get(name)
    if (replies) replies.add(reply)
    else channels.set(name, new Set([reply]))
  }
  const beat = setInterval(() => reply.raw.write(':heartbeat\n\n'), heartbeatMs)
  request.raw.on('close', () => {
    clearInterval(beat)
    for (const name of names) channels.get(name)?.delete(reply)
  })
})

app.post<{ Body: Published }>('/publish', (request, reply) => {
  const { to, ...item } = request.body
  const replies = channels.get(to.user === undefined ? `topic:${to.topic}` : `user:${to.user}`)
  const createdAt = new Date().toISOString()
  const frame = `event: notification\ndata: ${JSON.stringify({ op: 'created', item: { id: ++id, ...item, createdAt } })}\nid: ${id}\n\n`
  if (replies) for (const one of replies) one.raw.write(frame)
  reply.code(201).send({ id, createdAt })
})

await app.listen({ port: Number(process.env['PORT']), host: '127.0.0.1', backlog: 4096 })
