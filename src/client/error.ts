/**
 * The longest `Retry-After` that is obeyed: a proxy may ask for an hour and be gone in a minute.
 */
const MAX_RETRY_AFTER_MS = 120_000

/** An error between this page and the service. */
export class BellwireError extends Error {
  /**
   * The last part of the problem's type, such as `forbidden`, or:
   * `status-403` and the like: something other than Bellwire answered;
   * `token`, `ticket`: the application's function failed or returned no credential;
   * `network`: no answer; `blocked`: the browser blocks this origin or mixed content;
   * `silent`: the connection went silent; `url`: the option is not a URL;
   * `closed`, `user_changed`: the mark was dropped.
   */
  declare readonly code: string
  /** The HTTP status of Bellwire's answer; 0 if there was none. */
  declare readonly status: number
  /**
   * Milliseconds to wait before a retry, at most 2 minutes; undefined if the service did not say.
   */
  declare readonly retryAfterMs: number | undefined

  constructor(code: string, message: string, status = 0, retryAfterMs?: number) {
    super(message)
    Object.assign(this, { name: 'BellwireError', code, status, retryAfterMs })
  }
}

/** Any other error came from the network, or from a callback that uses it. */
export const asError = (error: unknown): BellwireError =>
  error instanceof BellwireError ? error : new BellwireError('network', `no answer: ${error}`)

/**
 * The error that a response stands for. Only a problem document of Bellwire counts as its answer.
 */
export async function errorOf(response: Response): Promise<BellwireError> {
  const { status, headers } = response
  const problem: { type?: string; detail: string } | null = await response.json().catch(() => null)
  const slug = problem?.type?.split?.('https://bellwire.dev/problems/')[1]
  const seconds = Number.parseFloat(headers.get('retry-after')!)
  return new BellwireError(
    slug ?? `status-${status}`,
    slug ? problem!.detail : `not from Bellwire: ${status} ${headers.get('content-type')}`,
    slug ? status : 0,
    // Jitter: clients that got the same value must not return together.
    seconds >= 0 ? Math.min(MAX_RETRY_AFTER_MS, seconds * (1000 + Math.random() * 250)) : undefined
  )
}
