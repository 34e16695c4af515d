import { createHmac } from 'node:crypto'
import fp from 'fastify-plugin'
import type { Assessment, Health, HealthStatus } from '../core/health.ts'
import { ALERT_EVERY_MS, ALERT_RETRY_MS, ALERT_TIMEOUT_MS } from '../core/limits.ts'

interface AlertOptions {
  readonly health: Health
  readonly node: string
  readonly url: string
  /** Signs what is sent; unset: nothing is signed. */
  readonly secret?: string | undefined
  /** Hears of each delivery that failed; `message` holds neither the address, which may be a secret, nor what was sent. */
  readonly onError: (message: string) => void
  /** Shortest time between two deliveries, milliseconds, default a minute. */
  readonly everyMs?: number | undefined
  /** How long the receiver may take, milliseconds, default 10 s. */
  readonly timeoutMs?: number | undefined
  /** First and longest pause after a failure, milliseconds, default 1 s and a minute. */
  readonly retryMs?: readonly [number, number] | undefined
}

/** What the receiver was told last, or may have been. */
interface Told {
  readonly status: HealthStatus
  readonly previous: HealthStatus
  acknowledged: boolean
}

/** Hexadecimal HMAC-SHA256 over `<seconds since 1970>.<body>`, so that neither can be exchanged or replayed later. */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')
}

/**
 * POSTs to a webhook when the status changes. Nobody waits for it: there is one delivery at a time, of the latest state; what changed
 * back before it could be told is not told. After a failure nobody knows what the receiver has heard, so the state is told until it
 * is acknowledged, even if it is the old one again.
 */
export default fp<AlertOptions>(
  async (app, { health, node, url, secret, onError, ...times }) => {
    const { everyMs = ALERT_EVERY_MS, timeoutMs = ALERT_TIMEOUT_MS, retryMs = ALERT_RETRY_MS } = times
    const stopped = new AbortController()
    let told: Told = { status: 'ok', previous: 'ok', acknowledged: true }
    let changedAt = new Date()
    let failures = 0
    let notBefore = 0
    let timer: NodeJS.Timeout | undefined
    let busy = false

    health.onStatus(() => {
      changedAt = new Date()
      schedule()
    })

    function schedule(): void {
      clearTimeout(timer)
      if (busy || stopped.signal.aborted || (told.acknowledged && told.status === health.last.status)) return
      timer = setTimeout(deliver, Math.max(0, notBefore - performance.now()))
      timer.unref()
    }

    async function deliver(): Promise<void> {
      const assessment = health.last
      const { status } = assessment
      // The same again, since nobody acknowledged it, is told as the same change.
      const previous = told.status === status ? told.previous : told.status
      told = { status, previous, acknowledged: false }
      busy = true
      try {
        await post(assessment, previous)
        told.acknowledged = true
        failures = 0
        notBefore = performance.now() + everyMs
      } catch (error) {
        if (stopped.signal.aborted) return
        const pause = Math.min(retryMs[1], retryMs[0] * 2 ** failures++)
        notBefore = performance.now() + pause * (0.5 + Math.random() / 2)
        onError(reasonOf(error))
      } finally {
        busy = false
        schedule()
      }
    }

    async function post(assessment: Assessment, previous: HealthStatus): Promise<void> {
      const recommendations = assessment.recommendations.map((one) => ({ ...one, since: new Date(one.since).toISOString() }))
      const at = changedAt.toISOString()
      const body = JSON.stringify({ status: assessment.status, previous, recommendations, node, at })
      const timestamp = String(Math.floor(Date.now() / 1000))
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'Bellwire',
          'bellwire-timestamp': timestamp,
          ...(secret === undefined ? {} : { 'bellwire-signature': `v1=${signatureOf(secret, timestamp, body)}` })
        },
        body,
        // Another address was not configured, and must not get what is meant for this one.
        redirect: 'manual',
        signal: AbortSignal.any([stopped.signal, AbortSignal.timeout(timeoutMs)])
      })
      // Only the status counts; a body that never ends must not keep the connection.
      response.body?.cancel().catch(() => {})
      if (!response.ok) throw new Refused(response.status)
    }

    app.addHook('preClose', async () => {
      clearTimeout(timer)
      stopped.abort()
    })
  },
  { name: 'alerts' }
)

class Refused extends Error {
  constructor(status: number) {
    super(`the webhook answered ${status}`)
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Refused) return error.message
  const { name, cause } = error as Error
  if (name === 'TimeoutError') return 'the webhook did not answer in time'
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  return `the webhook cannot be reached${code ? ` (${code})` : ''}`
}
