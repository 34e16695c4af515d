import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { createParser } from 'eventsource-parser'
import { PUBLISH_KEY, tokenOf } from '../service/harness.ts'

interface Frame {
  readonly reason?: string
  readonly retryMs?: number | null
  readonly resumed?: boolean
  readonly item?: { readonly id: string; readonly data?: { readonly last?: boolean } }
}

/** What one client experienced. */
export class Reader {
  readonly user: string
  readonly topics: readonly string[]
  readonly received: string[] = []
  /** Faults found, in words. */
  readonly faults: string[] = []
  readonly reconnects: number[] = []
  /** True once the last notification of the test has arrived. */
  done = false
  ready = false
  readonly #url: string
  readonly #token: string
  readonly #haste: number
  #cursor: string | undefined
  #seq = -1
  #retryMs = 3000
  #request: http.ClientRequest | undefined
  #timer: NodeJS.Timeout | undefined
  #over = false

  /** `haste` divides the time before it reconnects. */
  constructor(url: string, user: string, topics: string[], haste: number) {
    this.#url = `${url}/v1/stream?items=0`
    this.user = user
    this.topics = topics
    this.#token = tokenOf(user, topics)
    this.#haste = haste
  }

  /**
   * Behaves like EventSource: reconnects with its last id after the given retry time, and never
   * after a status other than 200.
   */
  open(): void {
    if (this.#over) return
    const request = http.get(this.#url, {
      agent: false,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor })
      }
    })
    this.#request = request
    const parser = createParser({
      onEvent: ({ event = 'message', id, data }) =>
        this.#take(event, id, JSON.parse(data) as Frame),
      onRetry: (ms) => {
        this.#retryMs = ms
      }
    })
    request.on('error', () => this.#again())
    request.on('response', (response) => {
      if (response.statusCode !== 200) this.faults.push(`status ${response.statusCode}`)
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => parser.feed(chunk))
      response.on('error', () => {})
      response.once('close', () => this.#again())
    })
  }

  close(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#request?.destroy()
  }

  #again(): void {
    if (this.#over || this.#timer) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.reconnects.push(performance.now())
      this.open()
    }, this.#retryMs / this.#haste)
  }

  #take(event: string, id: string | undefined, frame: Frame): void {
    const moves = event !== 'goodbye'
    if (event === 'reset') this.faults.push(`reset ${frame.reason}`)
    if (event === 'ready') {
      this.ready = true
      if (this.#cursor !== undefined && frame.resumed !== true) this.faults.push('not resumed')
    }
    if (event === 'goodbye' && frame.retryMs === null) this.faults.push(`goodbye ${frame.reason}`)
    if (event === 'notification' && frame.item) {
      this.received.push(frame.item.id)
      if (frame.item.data?.last) this.done = true
    }
    if (id === undefined || !moves) return
    const seq = Number(id.slice(id.lastIndexOf('-') + 1))
    // A heartbeat may repeat the cursor; no frame moves it back.
    if (seq < this.#seq || (event === 'notification' && seq === this.#seq))
      this.faults.push(`${event} at ${seq} after ${this.#seq}`)
    this.#seq = seq
    this.#cursor = id
  }
}

export type Recipient =
  | { readonly user: string }
  | { readonly topic: string }
  | { readonly everyone: true }

/**
 * Publishes at a steady rate with idempotency keys, and retries with the same key after any answer
 * but 201.
 */
export class Producer {
  /** Accepted notifications, in the order of the answers. */
  readonly accepted: { readonly id: string; readonly to: Recipient }[] = []
  /** First answers other than 201, counted by status. */
  readonly refused = new Map<string, number>()
  readonly #url: string
  readonly #draw: (n: number) => Recipient
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  readonly #running = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #sent = 0

  constructor(url: string, draw: (n: number) => Recipient) {
    this.#url = `${url}/v1/notifications`
    this.#draw = draw
  }

  start(perSecond: number): void {
    const startedAt = performance.now()
    let due = 0
    this.#timer = setInterval(() => {
      for (const target = ((performance.now() - startedAt) * perSecond) / 1000; due < target; due++)
        void this.publish(this.#draw(this.#sent))
    }, 10)
  }

  /** Resolves when every publish under way has been accepted. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.#agent.destroy()
  }

  get refusals(): number {
    return [...this.refused.values()].reduce((sum, count) => sum + count, 0)
  }

  publish(to: Recipient, data: Record<string, unknown> = {}): Promise<void> {
    this.#sent++
    const running: Promise<void> = this.#untilAccepted(to, data).finally(() =>
      this.#running.delete(running)
    )
    this.#running.add(running)
    return running
  }

  async #untilAccepted(to: Recipient, data: Record<string, unknown>): Promise<void> {
    const key = randomUUID()
    const body = JSON.stringify({ to, type: 'soak', data })
    for (let tries = 0; tries < 300; tries++) {
      const { status, text } = await this.#post(body, key)
      if (status === 201) {
        this.accepted.push({ id: (JSON.parse(text) as { id: string }).id, to })
        return
      }
      if (tries === 0) {
        const what = status === 0 ? text : String(status)
        this.refused.set(what, (this.refused.get(what) ?? 0) + 1)
      }
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    throw new Error('never accepted')
  }

  #post(body: string, key: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve) => {
      const request = http.request(this.#url, {
        method: 'POST',
        agent: this.#agent,
        headers: {
          authorization: `Bearer ${PUBLISH_KEY}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'idempotency-key': key
        }
      })
      request.on('error', (error: NodeJS.ErrnoException) =>
        resolve({ status: 0, text: error.code ?? error.message })
      )
      request.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('error', () => resolve({ status: 0, text: 'answer cut off' }))
        response.on('end', () => resolve({ status: response.statusCode!, text }))
      })
      request.end(body)
    })
  }
}

/**
 * What is wrong with what the clients received, in words: lost, repeated, or meant for someone
 * else.
 */
export function faultsOf(
  readers: readonly Reader[],
  accepted: readonly { readonly id: string; readonly to: Recipient }[]
): string[] {
  const byChannel = new Map<string, string[]>()
  for (const { id, to } of accepted) {
    const channel =
      'user' in to ? `user:${to.user}` : 'topic' in to ? `topic:${to.topic}` : 'everyone'
    const ids = byChannel.get(channel)
    if (ids) ids.push(id)
    else byChannel.set(channel, [id])
  }
  return readers.flatMap((reader) => {
    const channels = [
      `user:${reader.user}`,
      'everyone',
      ...reader.topics.map((topic) => `topic:${topic}`)
    ]
    const expected = new Set(channels.flatMap((channel) => byChannel.get(channel) ?? []))
    const got = new Set(reader.received)
    const lost = [...expected].filter((id) => !got.has(id)).length
    const strange = reader.received.filter((id) => !expected.has(id)).length
    const twice = reader.received.length - got.size
    const faults = [...reader.faults]
    if (lost > 0) faults.push(`${lost} lost`)
    if (twice > 0) faults.push(`${twice} twice`)
    if (strange > 0) faults.push(`${strange} not for it`)
    return faults.map((fault) => `${reader.user}: ${fault}`)
  })
}
