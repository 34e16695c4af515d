import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { encodeCounts } from '../delivery/encoded-event.ts'
import { type Channel, EVERYONE, scopeOf, topicOf, userChannel } from '../log/channel.ts'
import { formatCursor, resolveCursor } from '../log/cursor.ts'
import type { MarkOp } from '../log/event.ts'
import { encodeItem } from '../log/item.ts'
import { Id } from '../log/names.ts'
import type { EventLog, Inbox, MarkTarget } from '../log/store.ts'
import { allowsTopic, type Subscriber } from '../log/subscriber.ts'
import { answers } from './schemas/answers.ts'
import {
  CountsAnswer,
  IdsOnly,
  IdsOrUpTo,
  InboxAnswer,
  InboxQuery,
  MarkAnswer,
  ReaderQuery,
  UpToOnly
} from './schemas/inbox.ts'
import { ProblemError } from './schemas/problem.ts'
import { selectTopics } from './schemas/topics.ts'
import { entityTag, isCurrent } from './transports/entity-tag.ts'

interface InboxOptions {
  readonly store: EventLog & Inbox
}

const JSON_TYPE = 'application/json; charset=utf-8'
const documented = { tags: ['inbox'], security: [{ ticket: [] }, { bearer: [] }, { cookie: [] }] }

/** Ways to mark: path, what it does, and what it may be asked with. */
const MARKS = [
  { path: 'read', op: 'read', body: IdsOrUpTo, operationId: 'markRead', summary: 'Mark as read' },
  {
    path: 'unread',
    op: 'unread',
    body: IdsOnly,
    operationId: 'markUnread',
    summary: 'Mark as unread'
  },
  { path: 'archive', op: 'archived', body: IdsOrUpTo, operationId: 'archive', summary: 'Archive' },
  {
    path: 'seen',
    op: 'seen',
    body: UpToOnly,
    operationId: 'markSeen',
    summary: 'Mark as seen, up to a cursor'
  }
] as const satisfies readonly {
  path: string
  op: MarkOp
  body: unknown
  operationId: string
  summary: string
}[]

/** What a subscriber reads and marks outside the stream; the user is the credential's, never the request's. */
export default fp<InboxOptions>(
  async (instance, { store }) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    const reading = {
      onRequest: app.requireSubscriber,
      preHandler: redeemTicket,
      config: app.rateLimits.subscriber
    }

    app.get(
      '/v1/inbox',
      {
        ...reading,
        schema: {
          ...documented,
          operationId: 'getInbox',
          summary: 'The inbox, newest first',
          querystring: InboxQuery,
          response: answers({ 200: InboxAnswer })
        }
      },
      async (request, reply) => {
        const { status, limit, before, topics } = request.query
        const subscriber = request.subscriber
        const page = await store.inbox(
          subscriber.user,
          scopeOf(subscriber.user, selectTopics(subscriber, topics)),
          {
            status,
            limit,
            before:
              before === undefined ? undefined : await seqOf(subscriber.user, before, 'before')
          }
        )
        const { epoch } = store.logOf(subscriber.user)
        const items = page.items.map(({ entry, channel, marks }) =>
          encodeItem(entry, channel, formatCursor(epoch, entry.seq), marks)
        )
        const last = page.items.at(-1)
        const next = page.more && last ? `"${formatCursor(epoch, last.entry.seq)}"` : 'null'
        return sendFresh(
          request,
          reply,
          `{"items":[${items.join(',')}],"counts":${encodeCounts(page.counts)},"cursor":"${formatCursor(epoch, page.head)}","next":${next}}`
        )
      }
    )

    app.get(
      '/v1/inbox/counts',
      {
        ...reading,
        schema: {
          ...documented,
          operationId: 'getCounts',
          summary: 'How many are unread and unseen',
          querystring: ReaderQuery,
          response: answers({ 200: CountsAnswer })
        }
      },
      async (request, reply) => {
        const subscriber = request.subscriber
        const counts = await store.counts(
          subscriber.user,
          scopeOf(subscriber.user, selectTopics(subscriber, request.query.topics))
        )
        return sendFresh(request, reply, encodeCounts(counts))
      }
    )

    for (const { path, op, body, operationId, summary } of MARKS) {
      app.post(
        `/v1/inbox/${path}`,
        {
          ...reading,
          onRequest: [app.requireSubscriber, app.requireOwnPage],
          schema: {
            ...documented,
            operationId,
            summary,
            description: 'Idempotent. Ids that are not the caller’s count as not there.',
            querystring: ReaderQuery,
            body,
            response: answers({ 200: MarkAnswer })
          }
        },
        async (request, reply) => {
          const subscriber = request.subscriber
          const scope = scopeOf(subscriber.user, selectTopics(subscriber, request.query.topics))
          const { affected, seq } = await store.mark(
            subscriber.user,
            op,
            await targetOf(request.body, subscriber, scope)
          )
          const counts = await store.counts(subscriber.user, scope)
          const cursor = formatCursor(store.logOf(subscriber.user).epoch, seq)
          return reply
            .header('cache-control', 'no-store')
            .header('content-type', JSON_TYPE)
            .send(`{"affected":${affected},"counts":${encodeCounts(counts)},"cursor":"${cursor}"}`)
        }
      )
    }

    /** The seq of a cursor. A request, unlike a stream, cannot reset: an unknown cursor is an error. */
    async function seqOf(user: string, cursor: string, pointer: string): Promise<number> {
      const found = await resolveCursor(store, user, cursor)
      if ('seq' in found) return found.seq
      const detail = 'must be a cursor that this service gave out and still knows'
      throw new ProblemError('validation', `${pointer} ${detail}.`, {
        errors: [{ pointer, detail }]
      })
    }

    async function targetOf(
      body: { ids?: readonly string[] | null | undefined; upTo?: string | null | undefined },
      subscriber: Subscriber,
      scope: readonly Channel[]
    ): Promise<MarkTarget> {
      if (body.upTo != null)
        return { upTo: await seqOf(subscriber.user, body.upTo, '/upTo'), scope }
      const ids = [...new Set(body.ids)].filter((id) => Id.safeParse(id).success)
      return { ids, allows: (channel) => mayRead(subscriber, channel) }
    }
  },
  { name: 'inbox', dependencies: ['auth', 'rate-limit'] }
)

/** A ticket is used up when neither the credential nor the query can refuse the request any more. */
async function redeemTicket(request: FastifyRequest): Promise<void> {
  selectTopics(request.subscriber, (request.query as { topics?: string }).topics)
  if (request.method !== 'HEAD') await request.redeem()
}

/** Whether a credential covers a channel, also where no request has asked for it. */
function mayRead(subscriber: Subscriber, channel: Channel): boolean {
  if (channel === EVERYONE || channel === userChannel(subscriber.user)) return true
  const topic = topicOf(channel)
  return topic !== undefined && allowsTopic(subscriber, topic)
}

/** Sends a body with its validator, or 304 if the client already has it. */
function sendFresh(request: FastifyRequest, reply: FastifyReply, body: string): FastifyReply {
  const tag = `W/${entityTag(body)}`
  reply
    .header('etag', tag)
    .header('cache-control', 'private, no-cache')
    .header('vary', 'Authorization, Cookie, Origin')
  return isCurrent(request, tag)
    ? reply.code(304).send()
    : reply.header('content-type', JSON_TYPE).send(body)
}
