import { createHmac } from 'node:crypto'
import fp from 'fastify-plugin'
import { ALERT_EVERY_MS, ALERT_RETRY_MS, ALERT_TIMEOUT_MS } from '../bounds/limits.ts'
import { OutsideServer } from '../bounds/outside-request.ts'
import type { Assessment, Health, HealthStatus } from './health.ts'

interface AlertOptions {
  readonly health: Health
  readonly node: string
  readonly url: string
  /** Signs what is sent; unset: nothing is signed. */
  readonly secret?: string | undefined
  /** Hears of each delivery that failed; `message` holds the origin of the address, whose path may be a secret, and nothing of what was sent. */
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
 * is acknowledged, even if it is the old one again. A receiver that refuses it for what it is (4xx) would refuse it for ever: it hears of
 * the next change.
 */
export default fp<AlertOptions>(
  async (app, { health, node, url, secret, onError, ...times }) => {
    const {
      everyMs = ALERT_EVERY_MS,
      timeoutMs = ALERT_TIMEOUT_MS,
      retryMs = ALERT_RETRY_MS
    } = times
    const stopped = new AbortController()
    // Only the status counts; a body that never ends keeps its socket until the deadline, and nobody waits for it.
    const receiver = new OutsideServer({
      setting: 'ALERT_WEBHOOK_URL',
      url,
      timeoutMs,
      maxBytes: 0,
      maxConcurrent: 2
    })
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
      if (
        busy ||
        stopped.signal.aborted ||
        (told.acknowledged && told.status === health.last.status)
      )
        return
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
        const code = await post(assessment, previous)
        const ok = code >= 200 && code < 300
        const final = code >= 400 && code < 500 && code !== 408 && code !== 429
        if (!ok)
          onError(
            receiver.error(`it answered ${code}${final ? ', so this alert is not sent again' : ''}`)
              .message
          )
        if (ok || final) settle()
        else postpone()
      } catch (error) {
        if (stopped.signal.aborted) return
        onError((error as Error).message)
        postpone()
      } finally {
        busy = false
        schedule()
      }
    }

    function settle(): void {
      told.acknowledged = true
      failures = 0
      notBefore = performance.now() + everyMs
    }

    function postpone(): void {
      const pause = Math.min(retryMs[1], retryMs[0] * 2 ** failures++)
      notBefore = performance.now() + pause * (0.5 + Math.random() / 2)
    }

    async function post(assessment: Assessment, previous: HealthStatus): Promise<number> {
      const recommendations = assessment.recommendations.map((one) => ({
        ...one,
        since: new Date(one.since).toISOString()
      }))
      const at = changedAt.toISOString()
      const text = textOf(assessment, previous, node)
      const body = JSON.stringify({
        status: assessment.status,
        previous,
        recommendations,
        node,
        at,
        text
      })
      const timestamp = String(Math.floor(Date.now() / 1000))
      const answer = await receiver.ask({
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'bellwire-timestamp': timestamp,
          ...(secret === undefined
            ? {}
            : { 'bellwire-signature': `v1=${signatureOf(secret, timestamp, body)}` })
        },
        body,
        signal: stopped.signal
      })
      return answer.status
    }

    app.addHook('preClose', async () => {
      clearTimeout(timer)
      stopped.abort()
      receiver.close()
    })
  },
  { name: 'alerts' }
)

/** One line for a person, in the member that Slack, Mattermost and Teams show. */
function textOf(
  { status, recommendations }: Assessment,
  previous: HealthStatus,
  node: string
): string {
  const [gravest, ...others] = recommendations.filter(({ severity }) => severity !== 'info')
  const head = `Bellwire ${node} is ${status}${status === 'ok' ? ' again' : ''} (it was ${previous})`
  const why = gravest ? `: ${gravest.message} ${gravest.action}` : '.'
  const more = others.length > 0 ? ` Also: ${others.map(({ code }) => code).join(', ')}.` : ''
  return `${head}${why}${more}`.replace(/\s+/g, ' ')
}
