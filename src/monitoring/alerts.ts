import { createHmac } from 'node:crypto'
import { ALERT_EVERY_MS, ALERT_RETRY_MS, ALERT_TIMEOUT_MS } from '../bounds/limits.ts'
import { OutsideServer } from '../bounds/outside-request.ts'
import type { Assessment, Health, HealthStatus } from './health.ts'

interface AlertOptions {
  readonly health: Health
  readonly node: string
  readonly url: string
  /** Signs the request; undefined: it is not signed. */
  readonly secret?: string | undefined
  /**
   * Called for each delivery that failed. `message` contains only the origin of the address, whose
   * path may be a secret, and no part of the alert.
   */
  readonly onError: (message: string) => void
  /** Shortest time between two deliveries, milliseconds; default a minute. */
  readonly everyMs?: number | undefined
  /** How long the receiver may take, milliseconds; default 10 s. */
  readonly timeoutMs?: number | undefined
  /** First and longest pause after a failure, milliseconds; default 1 s and a minute. */
  readonly retryMs?: readonly [number, number] | undefined
}

/** The last alert that was sent, or may have arrived. */
interface Sent {
  readonly status: HealthStatus
  readonly previous: HealthStatus
  readonly acknowledged: boolean
}

/**
 * Hexadecimal HMAC-SHA256 over `<seconds since 1970>.<body>`, so that neither can be replaced or
 * replayed later.
 */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')
}

/**
 * POSTs to a webhook when the health status changes. One delivery runs at a time and sends the
 * latest state; a change that was reverted before it could be sent is not reported. After a failure
 * nobody knows what the receiver has read, so Bellwire retries until the state is acknowledged,
 * even if it is the old state again. A 4xx means that a retry would fail too: the receiver gets the
 * next change instead.
 */
export class Alerts {
  readonly #options: AlertOptions
  readonly #receiver: OutsideServer
  readonly #everyMs: number
  readonly #retryMs: readonly [number, number]
  readonly #stopped = new AbortController()
  #sent: Sent = { status: 'ok', previous: 'ok', acknowledged: true }
  #changedAt = new Date()
  /** Failures in a row. */
  #failures = 0
  /** Monotonic milliseconds. */
  #notBefore = 0
  #timer: NodeJS.Timeout | undefined
  #delivering = false

  /** Watches `health` from now on, until {@link stop}. */
  constructor(options: AlertOptions) {
    this.#options = options
    this.#everyMs = options.everyMs ?? ALERT_EVERY_MS
    this.#retryMs = options.retryMs ?? ALERT_RETRY_MS
    this.#receiver = new OutsideServer({
      setting: 'ALERT_WEBHOOK_URL',
      url: options.url,
      timeoutMs: options.timeoutMs ?? ALERT_TIMEOUT_MS,
      // Only the status counts. A body that never ends keeps its socket until the deadline.
      maxBytes: 0,
      maxConcurrent: 2
    })
    options.health.onStatus(() => {
      this.#changedAt = new Date()
      this.#schedule()
    })
  }

  /** Gives up what is being sent, and sends nothing more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#stopped.abort()
    this.#receiver.close()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    if (this.#delivering || this.#stopped.signal.aborted) return
    if (this.#sent.acknowledged && this.#sent.status === this.#options.health.last.status) return
    this.#timer = setTimeout(
      () => void this.#deliver(),
      Math.max(0, this.#notBefore - performance.now())
    )
    this.#timer.unref()
  }

  /** Sends the latest state; never rejects. */
  async #deliver(): Promise<void> {
    const { health, onError } = this.#options
    const assessment = health.last
    const { status } = assessment
    // A retry of the same status reports the same change.
    const previous = this.#sent.status === status ? this.#sent.previous : this.#sent.status
    this.#sent = { status, previous, acknowledged: false }
    this.#delivering = true
    try {
      const code = await this.#post(assessment, previous)
      const ok = code >= 200 && code < 300
      const final = code >= 400 && code < 500 && code !== 408 && code !== 429
      const consequence = final ? ', so this alert is not sent again' : ''
      if (!ok) onError(this.#receiver.error(`it answered ${code}${consequence}`).message)
      if (ok || final) this.#settle()
      else this.#postpone()
    } catch (error) {
      if (this.#stopped.signal.aborted) return
      onError(error instanceof Error ? error.message : String(error))
      this.#postpone()
    } finally {
      this.#delivering = false
      this.#schedule()
    }
  }

  #settle(): void {
    this.#sent = { ...this.#sent, acknowledged: true }
    this.#failures = 0
    this.#notBefore = performance.now() + this.#everyMs
  }

  #postpone(): void {
    const [first, longest] = this.#retryMs
    const pause = Math.min(longest, first * 2 ** this.#failures++)
    this.#notBefore = performance.now() + pause * (0.5 + Math.random() / 2)
  }

  /** The status code of the answer; rejects if there is none. */
  async #post(assessment: Assessment, previous: HealthStatus): Promise<number> {
    const { node, secret } = this.#options
    const body = JSON.stringify({
      status: assessment.status,
      previous,
      recommendations: assessment.recommendations.map((one) => ({
        ...one,
        since: new Date(one.since).toISOString()
      })),
      node,
      at: this.#changedAt.toISOString(),
      text: textOf(assessment, previous, node)
    })
    const timestamp = String(Math.floor(Date.now() / 1000))
    const { status } = await this.#receiver.ask({
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'bellwire-timestamp': timestamp,
        ...(secret === undefined
          ? {}
          : { 'bellwire-signature': `v1=${signatureOf(secret, timestamp, body)}` })
      },
      body,
      signal: this.#stopped.signal
    })
    return status
  }
}

/** One line for a person, in the member that Slack, Mattermost and Teams show. */
function textOf(
  { status, recommendations }: Assessment,
  previous: HealthStatus,
  node: string
): string {
  const [worst, ...others] = recommendations.filter(({ severity }) => severity !== 'info')
  const head = `Bellwire ${node} is ${status}${status === 'ok' ? ' again' : ''} (it was ${previous})`
  const why = worst ? `: ${worst.message} ${worst.action}` : '.'
  const more = others.length > 0 ? ` Also: ${others.map(({ code }) => code).join(', ')}.` : ''
  return `${head}${why}${more}`.replace(/\s+/g, ' ')
}
