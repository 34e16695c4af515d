import { now } from './clock.ts'
import { Poster } from './publisher.ts'
import type { Accepted } from './storm-clients.ts'
import { bellwire, TOPIC } from './targets.ts'

/** Pause before a publish that was not accepted is tried again. */
const RETRY_MS = 50
const CONTENT = `"type":"order.shipped","title":"Your order is on its way","body":"${'x'.repeat(90)}"`

/**
 * Publishes at a steady pace, whatever the answers take, and repeats each with its idempotency key
 * until it is accepted, as a backend does.
 */
export class StormProducer {
  readonly accepted: Accepted[] = []
  /** When each accepted request was sent, and how long its answer took, in milliseconds. */
  readonly answers: { readonly sentAt: number; readonly ms: number }[] = []
  /** Answers other than 201; 0 is a connection that broke or was refused. */
  readonly failed: Record<string, number> = {}
  readonly #port: number
  readonly #users: number
  readonly #idle: Poster[] = []
  readonly #underWay = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #sent = 0
  #over = false

  constructor(port: number, users: number) {
    this.#port = port
    this.#users = users
  }

  /** Every second one notification is for all, the others are each for one user. */
  start(perSecond: number): void {
    const startedAt = now()
    let due = 0
    this.#timer = setInterval(() => {
      for (const until = ((now() - startedAt) * perSecond) / 1000; due < until; due++) {
        const n = this.#sent++
        const user = n % perSecond === 0 ? -1 : (n * 7919) % this.#users
        const one: Promise<void> = this.#publish(n, user).finally(() => this.#underWay.delete(one))
        this.#underWay.add(one)
      }
    }, 5)
  }

  /** Resolves when all that were begun are accepted. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
    for (const poster of this.#idle) poster.end()
  }

  /** Gives up what was not accepted yet. */
  abandon(): void {
    this.#over = true
    clearInterval(this.#timer)
  }

  async #publish(n: number, user: number): Promise<void> {
    const to = user < 0 ? `{"topic":"${TOPIC}"}` : `{"user":"u${user}"}`
    const body = `{"to":${to},${CONTENT},"data":{"n":${n}}}`
    const request = `POST /v1/notifications HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${bellwire.headers}Idempotency-Key: storm-${n}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    while (!this.#over) {
      const sentAt = now()
      const status = await this.#post(request)
      if (status === 201) {
        this.answers.push({ sentAt, ms: now() - sentAt })
        this.accepted.push([n, user, now()])
        return
      }
      this.failed[status] = (this.failed[status] ?? 0) + 1
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  async #post(request: string): Promise<number> {
    const poster = this.#idle.pop() ?? (await Poster.open(this.#port).catch(() => null))
    if (!poster) return 0
    const status = await poster.post(request)
    if (status === 0) poster.end()
    else this.#idle.push(poster)
    return status
  }
}
