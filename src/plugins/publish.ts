import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { MAX_BATCH_BYTES, MAX_ITEM_TEXT } from '../bounds/limits.ts'
import { inTurns } from '../bounds/turns.ts'
import { iso } from '../log/iso.ts'
import { UserName } from '../log/names.ts'
import type { Idempotency, Publication } from '../log/notification.ts'
import { createNotificationId } from '../log/notification-id.ts'
import type { EventLog, Inbox, PublishOutcome } from '../log/store.ts'
import { enableRateLimits, limitedRoute, type ProducerKeys, producerOnly } from './auth.ts'
import { answers } from './schemas/answers.ts'
import { asProblem } from './schemas/as-problem.ts'
import { OVERSIZED, parseBatch, parseJson } from './schemas/batch-body.ts'
import { checkBatchItem, checkNotification, TOO_LARGE } from './schemas/check-notification.ts'
import { faultsOf, summaryOf } from './schemas/faults.ts'
import { decodeJson } from './schemas/json-body.ts'
import {
  BatchInput,
  BatchResults,
  Created,
  expiryOf,
  fingerprintOf,
  IDEMPOTENCY_KEY,
  NotificationInput,
  recipientsOf,
  StoredNotificationAnswer,
  TicketAnswer,
  TicketInput
} from './schemas/notification.ts'
import { type Fault, ProblemError, type ProblemSlug, problemDocument } from './schemas/problem.ts'

/** A request whose notifications are durable; `id` where it is one. */
export interface Accepted {
  readonly producer: string
  readonly requestId: string
  readonly id?: string
}

interface PublishOptions {
  readonly store: EventLog & Pick<Inbox, 'erase'>
  readonly keyring: ProducerKeys
  /** Requests that publish, a second and key; 0 = no limit. A batch is one. */
  readonly publishRate: number
  /** What `Location` begins with. */
  readonly basePath?: string | undefined
  /** `expiresAt` in milliseconds since 1970. */
  readonly issueTicket: (
    user: string,
    topics: readonly string[]
  ) => Promise<{ readonly ticket: string; readonly expiresAt: number }>
  /** Hears of each publication that was accepted and is durable; milliseconds from the request that was read to the commit. */
  readonly onAccepted?: ((publication: Publication, durableAfterMs: number) => void) | undefined
  /** Hears why the store took only a part of a batch; what it refuses as a whole is an error of the request. */
  readonly onFailure?: ((error: unknown, request: FastifyRequest) => void) | undefined
  /** Refuses a user's credentials up to now and ends the streams; how many there were. */
  readonly revoke: (user: string) => Promise<number>
  readonly stats?:
    | {
        /** `about` is for the log. */
        accepted(count: number, about: Accepted): void
        replayed(count: number, producer: string): void
        /** `producer` is undefined if the request had no key of any. */
        rejected(problem: ProblemSlug, count: number, producer: string | undefined): void
        /** Milliseconds from a publication that was read to one that is durable. */
        ack(ms: number): void
      }
    | undefined
}

const JSON_TYPE = 'application/json; charset=utf-8'
const EXPIRED: Fault = { pointer: '/expiresAt', detail: 'must lie in the future' }
const KEY_REUSED =
  'The idempotency key was used for another notification within 24 h; use a new one.'
const documented = { tags: ['publish'], security: [{ producer: [] }] }

/** What backend services call: publish, recall, tickets, and the end of a user's access or data. */
export default fp<PublishOptions>(
  async (
    instance,
    {
      store,
      keyring,
      publishRate,
      basePath = '',
      issueTicket,
      revoke,
      onAccepted,
      onFailure,
      stats
    }
  ) => {
    const app = instance.withTypeProvider<ZodTypeProvider>()
    await enableRateLimits(instance)
    const onRequest = producerOnly(keyring)
    const config = limitedRoute('publish', publishRate, 1000, (request) => request.producer ?? '')

    const publishing = {
      onRequest,
      config,
      // Judged by the handlers, which judge one notification and an item of many alike.
      validatorCompiler: () => () => true,
      onError: (request: FastifyRequest, _reply: unknown, error: Error, done: () => void) => {
        stats?.rejected(asProblem(error).slug, 1, request.producer)
        done()
      }
    }

    await instance.register(async (context) => {
      parseJsonWith(context, async (text) => parseJson(text))
      context.withTypeProvider<ZodTypeProvider>().post(
        '/v1/notifications',
        {
          ...publishing,
          bodyLimit: MAX_ITEM_TEXT,
          schema: {
            ...documented,
            operationId: 'publishNotification',
            summary: 'Publish a notification',
            description:
              '201 means durable. At most 16 KiB as JSON, not counting `to`. A field that is null counts as left out. With an `Idempotency-Key` header (1–255 visible ASCII characters) a repetition within 24 h is answered alike, with `Idempotent-Replayed: true`, and delivered once.',
            body: NotificationInput,
            reads: ['Idempotency-Key'],
            response: answers({ 201: Created })
          }
        },
        async (request, reply) => {
          const startedAt = performance.now()
          const key = idempotencyKeyOf(request)
          const publication = publicationOf(checkedBody(request.body), request.producer!, key)
          const outcome = (await store.publish([publication]))[0]!
          const durableAfterMs = performance.now() - startedAt
          stats?.ack(durableAfterMs)
          switch (outcome.kind) {
            case 'failed':
              throw outcome.error
            case 'key-reused':
              throw new ProblemError('idempotency-key-reused', KEY_REUSED)
            case 'expired':
              throw new ProblemError('validation', summaryOf([EXPIRED]), { errors: [EXPIRED] })
            case 'replayed':
              stats?.replayed(1, request.producer!)
              reply.header('idempotent-replayed', 'true')
              break
            case 'accepted':
              stats?.accepted(1, {
                producer: request.producer!,
                requestId: request.id,
                id: outcome.id
              })
              onAccepted?.(publication, durableAfterMs)
          }
          reply
            .code(201)
            .header('location', `${basePath}/v1/notifications/${outcome.id}`)
            .header('content-type', JSON_TYPE)
          return reply.send(`{"id":"${outcome.id}","createdAt":"${iso(outcome.createdAt)}"}`)
        }
      )
    })

    await instance.register(async (context) => {
      parseJsonWith(context, parseBatch)
      context.withTypeProvider<ZodTypeProvider>().post(
        '/v1/notifications/batch',
        {
          ...publishing,
          bodyLimit: MAX_BATCH_BYTES,
          schema: {
            ...documented,
            operationId: 'publishBatch',
            summary: 'Publish up to 1000 notifications',
            description:
              'Answers item by item, in order; one bad item never spoils the others. At most 100,000 recipients in sum, a topic or everyone being one; more is 413. Each item is durable by itself: if the store fails in the middle, the items that it did not take have status 503 or 507, and are to be sent again. An `Idempotency-Key` header covers the items that have no `idempotencyKey`. Pointers of an item’s problem start at the body of the request.',
            body: BatchInput,
            reads: ['Idempotency-Key'],
            response: answers({ 200: BatchResults })
          }
        },
        async (request, reply) => {
          const startedAt = performance.now()
          const batchKey = idempotencyKeyOf(request)
          const results: string[] = []
          const publications: Publication[] = []
          const places: number[] = []
          const refused = new Map<ProblemSlug, number>()
          const refuse = (slug: ProblemSlug): void =>
            void refused.set(slug, (refused.get(slug) ?? 0) + 1)
          await inTurns(itemsOf(request.body), (item, place) => {
            const pointer = `/notifications/${place}`
            const checked = item === OVERSIZED ? tooLarge(pointer) : checkBatchItem(item, pointer)
            if ('faults' in checked) {
              refuse('validation')
              results[place] = refusal(
                request.id,
                'validation',
                summaryOf(checked.faults),
                checked.faults
              )
              return
            }
            const { idempotencyKey, ...input } = checked.input
            const key =
              idempotencyKey ?? (batchKey === undefined ? undefined : `${batchKey}\n${place}`)
            publications.push(
              publicationOf({ input, content: checked.content }, request.producer!, key)
            )
            places.push(place)
          })
          const outcomes = publications.length > 0 ? await store.publish(publications) : []
          const durableAfterMs = performance.now() - startedAt
          outcomes.forEach((outcome, i) => {
            if (outcome.kind === 'accepted') onAccepted?.(publications[i]!, durableAfterMs)
            const slug = problemOf(outcome)
            if (slug !== undefined) refuse(slug)
            results[places[i]!] = resultOf(request.id, outcome, `/notifications/${places[i]}`)
          })
          const failure = outcomes.find(({ kind }) => kind === 'failed')
          if (failure?.kind === 'failed') onFailure?.(failure.error, request)
          if (outcomes.length > 0) stats?.ack(durableAfterMs)
          const accepted = outcomes.filter(({ kind }) => kind === 'accepted').length
          const replayed = outcomes.filter(({ kind }) => kind === 'replayed').length
          if (accepted > 0)
            stats?.accepted(accepted, { producer: request.producer!, requestId: request.id })
          if (replayed > 0) stats?.replayed(replayed, request.producer!)
          for (const [slug, count] of refused) stats?.rejected(slug, count, request.producer)
          return reply.header('content-type', JSON_TYPE).send(`{"results":[${results.join(',')}]}`)
        }
      )
    })

    const byId = { onRequest, schema: { ...documented, params: z.object({ id: z.string() }) } }
    app.get(
      '/v1/notifications/:id',
      {
        ...byId,
        schema: {
          ...byId.schema,
          operationId: 'getNotification',
          summary: 'Look a notification up',
          response: answers({ 200: StoredNotificationAnswer })
        }
      },
      async (request, reply) => {
        const found = await store.notification(request.params.id)
        if (!found) throw noNotification()
        const expiresAt =
          found.expiresAt === undefined ? '' : `,"expiresAt":"${iso(found.expiresAt)}"`
        return reply
          .header('cache-control', 'no-store')
          .header('content-type', JSON_TYPE)
          .send(
            `{"id":"${found.id}","to":${JSON.stringify(found.to)},${found.content},"createdAt":"${iso(found.createdAt)}"${expiresAt}}`
          )
      }
    )
    app.delete(
      '/v1/notifications/:id',
      {
        ...byId,
        schema: {
          ...byId.schema,
          operationId: 'recallNotification',
          summary: 'Recall a notification from every inbox',
          response: answers({ 204: z.null().describe('Recalled') })
        }
      },
      async (request, reply) => {
        if (!(await store.recall(request.params.id))) throw noNotification()
        return reply.code(204).send()
      }
    )

    app.post(
      '/v1/tickets',
      {
        onRequest,
        schema: {
          ...documented,
          operationId: 'issueTicket',
          summary: 'Issue a single-use ticket for a subscriber, valid for 30 s',
          body: TicketInput,
          response: answers({ 201: TicketAnswer })
        }
      },
      async (request, reply) => {
        const { ticket, expiresAt } = await issueTicket(
          request.body.user,
          request.body.topics ?? []
        )
        reply.code(201).header('cache-control', 'no-store').header('content-type', JSON_TYPE)
        return reply.send(JSON.stringify({ ticket, expiresAt: iso(expiresAt) }))
      }
    )

    const byUser = { onRequest, schema: { ...documented, params: z.object({ user: UserName }) } }
    app.delete(
      '/v1/users/:user/connections',
      {
        ...byUser,
        schema: {
          ...byUser.schema,
          operationId: 'revokeUser',
          summary: 'End a user’s streams and refuse the credentials up to now',
          response: answers({ 200: z.object({ closed: z.int() }).describe('How many streams end') })
        }
      },
      async (request, reply) =>
        reply
          .header('content-type', JSON_TYPE)
          .send(JSON.stringify({ closed: await revoke(request.params.user) }))
    )
    app.delete(
      '/v1/users/:user',
      {
        ...byUser,
        schema: {
          ...byUser.schema,
          operationId: 'eraseUser',
          summary: 'Erase a user’s inbox and state',
          response: answers({ 204: z.null().describe('Erased') })
        }
      },
      async (request, reply) => {
        await store.erase(request.params.user)
        return reply.code(204).send()
      }
    )
  },
  { name: 'publish', dependencies: ['problems'] }
)

const noNotification = (): ProblemError =>
  new ProblemError(
    'not-found',
    'No notification has this id; it never existed, expired, was recalled, or was replaced.'
  )

function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key
  const fault = { pointer: 'Idempotency-Key', detail: 'must be 1–255 visible ASCII characters' }
  throw new ProblemError('validation', summaryOf([fault]), { errors: [fault] })
}

/** Reads JSON bodies of the routes in this scope with `parse`; the rest as everywhere. */
function parseJsonWith(context: FastifyInstance, parse: (text: string) => Promise<unknown>): void {
  context.removeContentTypeParser('application/json')
  context.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      const text = decodeJson(request, body, done)
      if (text !== undefined) parse(text).then((value) => done(null, value), done)
    }
  )
}

interface Accepting {
  readonly input: NotificationInput
  readonly content: string
}

const noBody = (): ProblemError => new ProblemError('malformed', 'The body is empty; send JSON.')

/** The notification that a body is; throws what it is refused for. */
function checkedBody(body: unknown): Accepting {
  if (body === undefined) throw noBody()
  const checked = checkNotification(body)
  if (!('faults' in checked)) return checked
  if (checked.tooLarge)
    throw new ProblemError('payload-too-large', `The notification ${TOO_LARGE}.`)
  throw new ProblemError('validation', summaryOf(checked.faults), { errors: checked.faults })
}

/** The items of a batch, not looked at yet; throws what it is refused for as a whole. */
function itemsOf(body: unknown): readonly unknown[] {
  if (body === undefined) throw noBody()
  const batch = BatchInput.safeParse(body)
  if (batch.success) return batch.data.notifications
  const errors = faultsOf(batch.error.issues)
  throw new ProblemError('validation', summaryOf(errors), { errors })
}

const tooLarge = (pointer: string) => ({ faults: [{ pointer, detail: TOO_LARGE }] })

function publicationOf(
  { input, content }: Accepting,
  producer: string,
  key: string | undefined
): Publication {
  const createdAt = Date.now()
  // Producers choose their keys without knowing of each other. Not NUL between: the driver of SQLite ends a text there.
  const idempotency: Idempotency | undefined =
    key === undefined
      ? undefined
      : { key: `${producer}\n${key}`, fingerprint: fingerprintOf(input) }
  return {
    id: createNotificationId(createdAt),
    to: recipientsOf(input.to),
    content,
    key: input.key,
    createdAt,
    expiresAt: expiryOf(input, createdAt),
    ephemeral: input.ephemeral === true,
    idempotency,
    producer
  }
}

function refusal(
  requestId: string,
  slug: ProblemSlug,
  detail: string,
  faults?: readonly Fault[]
): string {
  return JSON.stringify({ status: 422, problem: problemDocument(slug, detail, requestId, faults) })
}

/** What an item was refused for; undefined if it was not. */
function problemOf(outcome: PublishOutcome): ProblemSlug | undefined {
  switch (outcome.kind) {
    case 'accepted':
    case 'replayed':
      return undefined
    case 'key-reused':
      return 'idempotency-key-reused'
    case 'expired':
      return 'validation'
    case 'failed':
      return asProblem(outcome.error).slug
  }
}

function resultOf(requestId: string, outcome: PublishOutcome, pointer: string): string {
  switch (outcome.kind) {
    case 'accepted':
    case 'replayed':
      return `{"status":201,"id":"${outcome.id}","createdAt":"${iso(outcome.createdAt)}"}`
    case 'key-reused':
      return refusal(requestId, 'idempotency-key-reused', KEY_REUSED)
    case 'expired': {
      const fault = { ...EXPIRED, pointer: `${pointer}${EXPIRED.pointer}` }
      return refusal(requestId, 'validation', summaryOf([fault]), [fault])
    }
    case 'failed': {
      const { slug, message, statusCode } = asProblem(outcome.error)
      return JSON.stringify({
        status: statusCode,
        problem: problemDocument(slug, message, requestId)
      })
    }
  }
}
