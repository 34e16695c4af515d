import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { ASK_MS, MAX_ANSWER_BYTES, MAX_ANSWER_ROWS } from '../../bounds/limits.ts'
import { isReady } from '../../stores/redis/client.ts'
import { channelRefusal } from '../../stores/redis/redis-errors.ts'
import type { LocalNode } from '../cluster.ts'
import { ANSWERS, boundAnswer, type NodeAnswer, NodeQuery } from '../node-query.ts'
import type { ClusterConnection } from './cluster-connection.ts'

type Kind = NodeQuery['kind']

/** A query of ours that other nodes are answering. */
interface Pending {
  /** An answer of another node arrived. */
  received(answer: unknown): void
}

const Query = z.object({ id: z.string(), from: z.string(), question: z.unknown() })
type Query = z.output<typeof Query>
const Reply = z.object({ id: z.string(), answer: z.unknown() })
type Reply = z.output<typeof Reply>
const Message = z.union([Query, Reply])

/**
 * Queries that nodes send each other over Pub/Sub, which may lose messages. So the answers are for
 * operators and for counts only; what must not be lost goes through the log.
 */
export class NodeMessages {
  readonly #redis: ClusterConnection
  readonly #onTrouble: (message: string) => void
  /** Queries of ours by their id, {@link ASK_MS} at most. */
  readonly #pending = new Map<string, Pending>()
  #local: LocalNode | undefined
  /** True while the channels are subscribed to. */
  #subscribed = false
  /** Why Redis refused the subscription, as last reported. */
  #refusal: string | undefined

  /** `onTrouble` receives why Redis refuses messages, once until the reason changes. */
  constructor(redis: ClusterConnection, onTrouble: (message: string) => void) {
    this.#redis = redis
    this.#onTrouble = onTrouble
  }

  /** Answers the queries of other nodes from now on. */
  join(local: LocalNode): void {
    this.#local = local
    const { subscriber } = this.#redis.clients
    this.#redis.onMessage((channel, text) => this.#receive(channel, text))
    subscriber.on('close', () => {
      this.#subscribed = false
    })
  }

  /** Subscribes, if that has not succeeded yet: a permission may have been granted since. */
  async subscribe(): Promise<void> {
    const redis = this.#redis
    const { subscriber } = redis.clients
    if (this.#subscribed || !isReady(subscriber)) return
    try {
      await redis.subscribe(redis.key('ask'), redis.key(`answer:${redis.node}`))
      this.#subscribed = isReady(subscriber)
      this.#refusal = undefined
    } catch (error) {
      const refusal = channelRefusal(error, redis.prefix)
      if (refusal !== this.#refusal)
        this.#onTrouble(`this node cannot receive messages of the other nodes: ${refusal}`)
      this.#refusal = refusal
    }
  }

  /** See {@link Cluster.reachable}. */
  get reachable(): boolean {
    return this.#subscribed && isReady(this.#redis.clients.reads)
  }

  /** See {@link Cluster.ask}. */
  async ask<K extends Kind>(
    question: Extract<NodeQuery, { kind: K }>
  ): Promise<readonly NodeAnswer<K>[]> {
    const answers = this.#local ? [this.#local.answer<K>(question)] : []
    if (!this.reachable) return answers
    const id = randomBytes(9).toString('base64url')
    // How many nodes the query reached, as soon as Redis has said so.
    let expected = Number.POSITIVE_INFINITY
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ASK_MS)
      const done = (): void => {
        clearTimeout(timer)
        resolve()
      }
      this.#pending.set(id, {
        received: (answer) => {
          const parsed = ANSWERS[question.kind].safeParse(answer)
          // The schema of this kind has checked it.
          if (parsed.success) answers.push(parsed.data as NodeAnswer<K>)
          else expected--
          if (answers.length >= expected) done()
        }
      })
      // Redis counts the nodes that the query reached: one that just died is not waited for, one
      // that just came is.
      this.#send('ask', { id, from: this.#redis.node, question }).then((reached) => {
        expected = Math.min(expected, reached)
        if (answers.length >= expected) done()
      }, done)
    })
    this.#pending.delete(id)
    return answers
  }

  #receive(channel: string, text: string): void {
    const message = parseMessage(text)
    if (message === undefined) return
    if ('answer' in message) this.#pending.get(message.id)?.received(message.answer)
    else if (channel === this.#redis.key('ask')) this.#answer(message)
  }

  #answer({ id, from, question }: Query): void {
    // A newer node may ask what this one does not know.
    const parsed = NodeQuery.safeParse(question)
    if (!this.#local || from === this.#redis.node || !parsed.success) return
    const query = parsed.data
    const bounded =
      'limit' in query ? { ...query, limit: Math.min(query.limit, MAX_ANSWER_ROWS) } : query
    const answer = boundAnswer(this.#local.answer(bounded), MAX_ANSWER_BYTES)
    // If it is lost, the other node stops waiting after a moment.
    this.#send(`answer:${from}`, { id, answer }).catch(() => {})
  }

  #send(channel: string, message: Query | Reply): Promise<number> {
    return this.#redis.publish(this.#redis.key(channel), JSON.stringify(message))
  }
}

/** Undefined if it does not come from a node. */
function parseMessage(text: string): Query | Reply | undefined {
  try {
    return Message.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
