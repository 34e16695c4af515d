import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import fp from 'fastify-plugin'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { inTurns } from '../bounds/event-loop-turns.ts'
import { MAX_BATCH_BYTES, MAX_ITEM_TEXT } from '../bounds/limits.ts'
import type { Config } from '../config/config.ts'
import { iso } from '../log/iso.ts'
import type { Publication } from '../log/notification.ts'
import type { Store } from '../log/store.ts'
import type { PublishObserver } from '../monitoring/publish-observer.ts'
import { answers, producerWith } from './schemas/answers.ts'
import { asProblem } from './schemas/as-problem.ts'
import { OVERSIZED, parseBatch, parseJson } from './schemas/batch-body.ts'
import { checkBatchItem, TOO_LARGE } from './schemas/check-notification.ts'
import { parseJsonWith } from './schemas/json-body.ts'
import { PROBLEMS, ProblemError, type ProblemSlug } from './schemas/problem.ts'
import { idempotencyKeyOf, itemsIn, notificationIn, publicationOf } from './schemas/publication.ts'
import {
  BatchAnswer,
  invalid,
  isStored,
  problemOf,
  storedMembers
} from './schemas/publish-answer.ts'
import {
  BatchInput,
  BatchResults,
  Created,
  NotificationInput,
  StoredNotificationAnswer
} from './schemas/publish-body.ts'
import { sendJson } from './transports/send-json.ts'

interface PublishOptions {
  readonly store: Pick<Store, 'publish' | 'notification' | 'recall'>
  /** Prefix of `Location`. */
  readonly basePath?: Config['basePath'] | undefined
  readonly observer: PublishObserver
}

const documented = { tags: ['publish'], security: producerWith('publish') }

/** Routes for notifications: publish one or a batch, look one up, recall it. */
export default fp<PublishOptions>(
  async (app, options) => {
    const { observer } = options
    const publishing = {
      onRequest: app.requireProducer('publish'),
      config: app.rateLimits.producer,
      // The handlers check the body, so that an item of a batch passes the same checks.
      validatorCompiler: () => () => true,
      onError: (request: FastifyRequest, _reply: unknown, error: Error, done: () => void) => {
        report(observer, asProblem(error).slug, 1, request.producer || undefined)
        done()
      }
    }
    await app.register(async (scope) => publishOne(scope, publishing, options))
    await app.register(async (scope) => publishBatch(scope, publishing, options))
    storedNotifications(app, options)
  },
  { name: 'publish', dependencies: ['auth', 'rate-limit'] }
)

/** Counts rejected notifications; only a fault of the producer's own counts against it. */
function report(
  observer: PublishObserver,
  slug: ProblemSlug,
  count: number,
  producer: string | undefined
): void {
  observer.rejected(slug, count, PROBLEMS[slug].status < 500 ? producer : undefined)
}

type Publishing = Pick<
  RouteShorthandOptions,
  'onRequest' | 'config' | 'validatorCompiler' | 'onError'
>
type Needs = Pick<PublishOptions, 'store' | 'basePath' | 'observer'>

// Only the heads of the two routes look alike: what they read and answer differs.
function publishOne(scope: FastifyInstance, publishing: Publishing, needs: Needs): void {
  const { store, basePath = '', observer } = needs
  parseJsonWith(scope, async (text) => parseJson(text))
  scope.withTypeProvider<ZodTypeProvider>().post(
    '/v1/notifications',
    {
      ...publishing,
      bodyLimit: MAX_ITEM_TEXT,
      schema: {
        ...documented,
        operationId: 'publishNotification',
        summary: 'Publish a notification',
        description:
          '201 means durable. At most 16 KiB as JSON, not counting `to`. A field that is null counts as left out. With an `Idempotency-Key` header (1–255 visible ASCII characters) a repeated request within 24 h gets the same response, with `Idempotent-Replayed: true`, and is delivered once.',
        body: NotificationInput,
        reads: ['Idempotency-Key'],
        response: answers({ 201: Created })
      }
    },
    async (request, reply) => {
      const startedAt = performance.now()
      const { producer, id: requestId } = request
      const key = idempotencyKeyOf(request)
      const publication = publicationOf(notificationIn(request.body), producer, key)
      const outcome = (await store.publish([publication]))[0]!
      const durableAfterMs = performance.now() - startedAt
      observer.acknowledged(durableAfterMs)
      if (!isStored(outcome)) throw problemOf(outcome)
      const { id, kind } = outcome
      if (kind === 'accepted')
        observer.accepted([publication], { producer, requestId, id }, durableAfterMs)
      else {
        observer.replayed(1, producer)
        reply.header('idempotent-replayed', 'true')
      }
      reply.code(201).header('location', `${basePath}/v1/notifications/${id}`)
      return sendJson(reply, `{${storedMembers(outcome)}}`)
    }
  )
}

function publishBatch(scope: FastifyInstance, publishing: Publishing, needs: Needs): void {
  parseJsonWith(scope, parseBatch)
  scope.withTypeProvider<ZodTypeProvider>().post(
    '/v1/notifications/batch',
    {
      ...publishing,
      bodyLimit: MAX_BATCH_BYTES,
      schema: {
        ...documented,
        operationId: 'publishBatch',
        summary: 'Publish up to 1000 notifications',
        description:
          'Answers item by item, in order; an invalid item never affects the others. At most 100,000 recipients in total, or the answer is 413; a topic counts as one, and so does everyone. Each item is durable by itself: if the store fails halfway, the items it did not take have status 503 or 507; send those again. An `Idempotency-Key` header covers the items that have no `idempotencyKey`. Pointers in an item’s problem start at the body of the request.',
        body: BatchInput,
        reads: ['Idempotency-Key'],
        response: answers({ 200: BatchResults })
      }
    },
    async (request, reply) => {
      const startedAt = performance.now()
      const answer = new BatchAnswer(request.id)
      const items = await validItems(request, answer)
      if (items.length > 0) await storeItems(request, items, answer, startedAt, needs)
      for (const [slug, count] of answer.rejected)
        report(needs.observer, slug, count, request.producer)
      return sendJson(reply, answer.toString())
    }
  )
}

/** A valid item of a batch, and its index there. */
interface Item {
  readonly index: number
  readonly publication: Publication
}

const pointerTo = (index: number): string => `/notifications/${index}`

/** The valid items of a batch; the others are rejected in the answer. */
async function validItems(request: FastifyRequest, answer: BatchAnswer): Promise<Item[]> {
  const { producer } = request
  const batchKey = idempotencyKeyOf(request)
  const items: Item[] = []
  await inTurns(itemsIn(request.body), (item, index) => {
    const pointer = pointerTo(index)
    const checked =
      item === OVERSIZED
        ? { faults: [{ pointer, detail: TOO_LARGE }] }
        : checkBatchItem(item, pointer)
    if ('faults' in checked) {
      answer.reject(index, invalid(checked.faults))
      return
    }
    const { idempotencyKey, ...input } = checked.input
    const key = idempotencyKey ?? (batchKey === undefined ? undefined : `${batchKey}\n${index}`)
    items.push({ index, publication: publicationOf({ ...checked, input }, producer, key) })
  })
  return items
}

/** Publishes valid items, answers each and reports them. */
async function storeItems(
  request: FastifyRequest,
  items: readonly Item[],
  answer: BatchAnswer,
  startedAt: number,
  { store, observer }: Needs
): Promise<void> {
  const { producer, id: requestId } = request
  const outcomes = await store.publish(items.map(({ publication }) => publication))
  const durableAfterMs = performance.now() - startedAt
  observer.acknowledged(durableAfterMs)
  const accepted: Publication[] = []
  let replayed = 0
  let failure: unknown
  for (const [i, { index, publication }] of items.entries()) {
    const outcome = outcomes[i]!
    if (isStored(outcome)) {
      answer.store(index, outcome)
      if (outcome.kind === 'accepted') accepted.push(publication)
      else replayed++
    } else {
      answer.reject(index, problemOf(outcome, pointerTo(index)))
      if (outcome.kind === 'failed') failure ??= outcome.error
    }
  }
  if (failure !== undefined) observer.failed(failure, requestId)
  if (accepted.length > 0) observer.accepted(accepted, { producer, requestId }, durableAfterMs)
  if (replayed > 0) observer.replayed(replayed, producer)
}

function storedNotifications(instance: FastifyInstance, { store }: Needs): void {
  const app = instance.withTypeProvider<ZodTypeProvider>()
  const onRequest = app.requireProducer('publish')
  const schema = { ...documented, params: z.object({ id: z.string() }) }
  app.get(
    '/v1/notifications/:id',
    {
      onRequest,
      schema: {
        ...schema,
        operationId: 'getNotification',
        summary: 'Look a notification up',
        response: answers({ 200: StoredNotificationAnswer })
      }
    },
    async (request, reply) => {
      const found = await store.notification(request.params.id)
      if (!found) throw noNotification()
      const { id, to, content, createdAt, expiresAt } = found
      const expiry = expiresAt === undefined ? '' : `,"expiresAt":"${iso(expiresAt)}"`
      reply.header('cache-control', 'no-store')
      return sendJson(
        reply,
        `{"id":"${id}","to":${JSON.stringify(to)},${content},"createdAt":"${iso(createdAt)}"${expiry}}`
      )
    }
  )
  app.delete(
    '/v1/notifications/:id',
    {
      onRequest,
      schema: {
        ...schema,
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
}

const noNotification = (): ProblemError =>
  new ProblemError(
    'not-found',
    'No notification has this id: it never existed, expired, was recalled or was replaced.'
  )
