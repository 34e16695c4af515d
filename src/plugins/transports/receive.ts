import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { OpenRequest, Reservation } from '../../delivery/admission.ts'
import type { Refusal } from '../../delivery/close-reason.ts'
import type { Hub } from '../../delivery/hub.ts'
import { asProblem } from '../schemas/as-problem.ts'
import { cursorOf, type StreamQuery } from '../schemas/stream.ts'
import { selectTopics } from '../schemas/topics.ts'
import { hasLeft, type OnError, reportError } from './report-error.ts'

/** What a request asks to receive; the transport adds its sink and codec. */
export type Asked = Omit<OpenRequest, 'sink' | 'codec'>

/** A subscriber who may open a connection now. Open it with `reservation`, or release that. */
export interface Admitted {
  readonly asked: Asked
  readonly reservation: Reservation
}

export interface ReceiveOptions {
  readonly hub: Hub
  /** Called when nobody can tell who the subscriber is, for a fault that is not theirs. */
  readonly onError: OnError
}

/** Reads a request behind `requireSubscriber`. Throws a `ProblemError` if the credential does not allow a topic. */
export function askedBy(request: FastifyRequest, query: StreamQuery): Asked {
  const { subscriber, id: requestId } = request
  const topics = selectTopics(subscriber, query.topics)
  return { subscriber, topics, after: cursorOf(request, query), items: query.items, requestId }
}

/**
 * What every stream does before its transport takes over: authenticate, check the topics, admit, and see
 * whether the client is still there. Throws what a page cannot mend by trying again (an HTTP error).
 * Resolves to a refusal if it can: the transport then sends a goodbye that says when. `left` means that
 * nobody is there to be answered. `check` runs once the subscriber is known.
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
    // The sink would hear nothing of a client that has left by now.
    if (typeof admitted !== 'string') admitted.release()
    return 'left'
  } catch (error) {
    const problem = asProblem(error)
    if (problem.slug !== 'unavailable') throw error
    reportError(request, problem, onError)
    return hasLeft(request) ? 'left' : 'unavailable'
  }
}
