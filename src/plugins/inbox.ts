import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { encodeCounts } from '../delivery/encoded-event.ts'
import { type Channel, EVERYONE, scopeOf, topicOf, userChannel } from '../log/channel.ts'
import { formatCursor, resolveCursor } from '../log/cursor.ts'
import { encodeItem } from '../log/item.ts'
import { Id } from '../log/names.ts'
import type { EventLog, Inbox, InboxPage, MarkTarget } from '../log/store.ts'
import { allowsTopic, type Subscriber } from '../log/subscriber.ts'
import { answers, SUBSCRIBER_CREDENTIALS } from './schemas/answers.ts'
import {
  CountsAnswer,
  InboxAnswer,
  InboxQuery,
  MARKS,
  MarkAnswer,
  ReaderQuery
} from './schemas/inbox.ts'
import { ProblemError } from './schemas/problem.ts'
import { selectTopics } from './schemas/topics.ts'
import { entityTag, isCurrent } from './transports/entity-tag.ts'
import { sendJson } from './transports/send-json.ts'

interface InboxOptions {
  readonly store: EventLog & Inbox
}

const documented = { tags: ['inbox'], security: SUBSCRIBER_CREDENTIALS }

/**
 * The inbox, its counts and its marks, for requests without a stream. The user comes from the
 * credential, never from the request.
 */
export default fp<InboxOptions>(
  async (app, { store }) => {
    serveReading(app, store)
    serveMarks(app, store)
  },
  { name: 'inbox', dependencies: ['auth', 'rate-limit'] }
)

const readingOptions = (app: FastifyInstance) => ({
  onRequest: app.requireSubscriber,
  preHandler: redeemTicket,
  config: app.rateLimits.subscriber
})

// Only the head of the two routes looks alike: what they read and answer differs.
function serveReading(instance: FastifyInstance, store: InboxOptions['store']): void {
  const app = instance.withTypeProvider<ZodTypeProvider>()
  app.get(
    '/v1/inbox',
    {
      ...readingOptions(app),
      schema: {
        ...documented,
        operationId: 'getInbox',
        summary: 'The inbox, newest first',
        querystring: InboxQuery,
        response: answers({ 200: InboxAnswer })
      }
    },
    async (request, reply) => {
      const { status, limit, before: cursor, topics } = request.query
      const { subscriber } = request
      const { user } = subscriber
      const scope = scopeOf(user, selectTopics(subscriber, topics))
      const before = cursor === undefined ? undefined : await seqOf(store, user, cursor, 'before')
      const page = await store.inbox(user, scope, { status, limit, before })
      return sendFresh(request, reply, encodePage(page, store.logOf(user).epoch))
    }
  )
  app.get(
    '/v1/inbox/counts',
    {
      ...readingOptions(app),
      schema: {
        ...documented,
        operationId: 'getCounts',
        summary: 'How many are unread and unseen',
        querystring: ReaderQuery,
        response: answers({ 200: CountsAnswer })
      }
    },
    async (request, reply) => {
      const { subscriber, query } = request
      const scope = scopeOf(subscriber.user, selectTopics(subscriber, query.topics))
      return sendFresh(request, reply, encodeCounts(await store.counts(subscriber.user, scope)))
    }
  )
}

function encodePage({ items, counts, head, more }: InboxPage, epoch: string): string {
  const encoded = items.map(({ entry, channel, marks }) =>
    encodeItem(entry, channel, formatCursor(epoch, entry.seq), marks)
  )
  const last = items.at(-1)
  const next = more && last ? `"${formatCursor(epoch, last.entry.seq)}"` : 'null'
  return `{"items":[${encoded.join(',')}],"counts":${encodeCounts(counts)},"cursor":"${formatCursor(epoch, head)}","next":${next}}`
}

function serveMarks(instance: FastifyInstance, store: InboxOptions['store']): void {
  const app = instance.withTypeProvider<ZodTypeProvider>()
  for (const { path, op, body, operationId, summary } of MARKS) {
    app.post(
      `/v1/inbox/${path}`,
      {
        ...readingOptions(app),
        onRequest: [app.requireSubscriber, app.requireOwnPage],
        schema: {
          ...documented,
          operationId,
          summary,
          description: 'Idempotent. An id that is not in the caller’s inbox is ignored.',
          querystring: ReaderQuery,
          body,
          response: answers({ 200: MarkAnswer })
        }
      },
      async (request, reply) => {
        const { subscriber } = request
        const { user } = subscriber
        const scope = scopeOf(user, selectTopics(subscriber, request.query.topics))
        const target = await targetOf(store, request.body, subscriber, scope)
        const { affected, seq } = await store.mark(user, op, target)
        const counts = encodeCounts(await store.counts(user, scope))
        const cursor = formatCursor(store.logOf(user).epoch, seq)
        reply.header('cache-control', 'no-store')
        return sendJson(reply, `{"affected":${affected},"counts":${counts},"cursor":"${cursor}"}`)
      }
    )
  }
}

/** The seq of a cursor. A request, unlike a stream, cannot reset: an unknown cursor is an error. */
async function seqOf(
  store: EventLog,
  user: string,
  cursor: string,
  pointer: string
): Promise<number> {
  const found = await resolveCursor(store, user, cursor)
  if ('seq' in found) return found.seq
  const detail = 'must be a cursor that this service issued and still knows'
  throw new ProblemError('validation', `${pointer} ${detail}.`, { errors: [{ pointer, detail }] })
}

async function targetOf(
  store: EventLog,
  body: { ids?: readonly string[] | null | undefined; upTo?: string | null | undefined },
  subscriber: Subscriber,
  scope: readonly Channel[]
): Promise<MarkTarget> {
  if (body.upTo != null)
    return { upTo: await seqOf(store, subscriber.user, body.upTo, '/upTo'), scope }
  const ids = [...new Set(body.ids)].filter((id) => Id.safeParse(id).success)
  return { ids, allows: (channel) => mayRead(subscriber, channel) }
}

/**
 * `preHandler` hook: redeems a ticket last, when neither the credential nor the query can reject
 * the request any more.
 */
async function redeemTicket(request: FastifyRequest): Promise<void> {
  selectTopics(request.subscriber, (request.query as { topics?: string }).topics)
  if (request.method !== 'HEAD') await request.redeem()
}

/** Whether a credential covers a channel, even one that no request has asked for. */
function mayRead(subscriber: Subscriber, channel: Channel): boolean {
  if (channel === EVERYONE || channel === userChannel(subscriber.user)) return true
  const topic = topicOf(channel)
  return topic !== undefined && allowsTopic(subscriber, topic)
}

/** Sends JSON with its entity tag, or 304 if the client already has it. */
function sendFresh(request: FastifyRequest, reply: FastifyReply, json: string): FastifyReply {
  const tag = `W/${entityTag(json)}`
  reply
    .header('etag', tag)
    .header('cache-control', 'private, no-cache')
    .header('vary', 'Authorization, Cookie, Origin')
  return isCurrent(request, tag) ? reply.code(304).send() : sendJson(reply, json)
}
