import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { OpenRequest, Reservation } from '../../delivery/admission.ts'
import type { Refusal } from '../../delivery/goodbye.ts'
import type { Hub } from '../../delivery/hub.ts'
import { asProblem } from '../schemas/as-problem.ts'
import { cursorOf, type StreamQuery } from '../schemas/stream.ts'
import { selectTopics } from '../schemas/topics.ts'
import { hasLeft, type OnError, reportError } from './report-error.ts'

/** What a request asks to receive; the transport adds its sink and codec. */
export type Asked = Omit<OpenRequest, 'sink' | 'codec'>

/** A subscriber who may open a connection now: open `reservation`, or release it. */
export interface Admitted {
  readonly asked: Asked
  readonly reservation: Reservation
}

/** What a stream needs to receive requests. */
export interface ReceiveOptions {
  readonly hub: Hub
  /** Called if the store or an auth server fails, so that the request cannot be admitted. */
  readonly onError: OnError
}

/**
 * What a request asks to receive. Call it after `requireSubscriber`. Throws a `ProblemError` if the
 * credential does not allow a topic.
 */
export function askedBy(request: FastifyRequest, query: StreamQuery): Asked {
  const { subscriber, id: requestId } = request
  const topics = selectTopics(subscriber, query.topics)
  return { subscriber, topics, cursor: cursorOf(request, query), items: query.items, requestId }
}

/**
 * What every stream does before its transport takes over: it authenticates, checks the topics,
 * admits, and checks that the client is still connected. Throws an HTTP error that a retry cannot
 * mend. Resolves to a refusal if a retry can help: the transport then sends a goodbye that says
 * when. Resolves to `left` if the client has disconnected. `check` runs when the subscriber is
 * known.
 */
export async function receive(
  app: FastifyInstance,
  request: FastifyRequest,
  query: StreamQuery,
  { hub, onError }: ReceiveOptions,
  check: () => void = () => {}
): Promise<Admitted | Refusal | 'left'> {
  try {
    await app.requireSubscriber(request)
    if (hasLeft(request)) return 'left'
    check()
    const asked = askedBy(request, query)
    const admitted = await hub.admit(request.subscriber.user, request.ip, request.redeem)
    if (!hasLeft(request))
      return typeof admitted === 'string' ? admitted : { asked, reservation: admitted }
    // A sink opened now would miss the 'close' event.
    if (typeof admitted !== 'string') admitted.release()
    return 'left'
  } catch (error) {
    const problem = asProblem(error)
    if (problem.slug !== 'unavailable') throw error
    reportError(request, problem, onError)
    return hasLeft(request) ? 'left' : 'unavailable'
  }
}
