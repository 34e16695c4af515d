/** The longest pause that an answer can ask for: what is in between may ask for an hour, and be gone in a minute. */
const MAX_RETRY_AFTER_MS = 120_000

/** What went wrong between this page and the service. */
export class BellwireError extends Error {
  /**
   * The last part of the problem's type, such as `forbidden`. `status-403` and the like: something other than Bellwire answered.
   * `token`, `ticket`: the application gave none. `network`, `cors`, `mixed-content`, `silent`: no answer came.
   * `url`: the option is no address. `closed`, `user_changed`: a mark was given up.
   */
  declare readonly code: string
  /** Status of Bellwire's answer; 0 where there was none. */
  declare readonly status: number
  /** When the service wants to be asked again, if it said so; 2 minutes at most. */
  declare readonly retryAfterMs: number | undefined

  constructor(code: string, message: string, status = 0, retryAfterMs?: number) {
    super(message)
    Object.assign(this, { name: 'BellwireError', code, status, retryAfterMs })
  }
}

/** What is no error of ours yet came from the network, or from a callback that uses it. */
export const asError = (error: unknown): BellwireError =>
  error instanceof BellwireError ? error : new BellwireError('network', `no answer: ${error}`)

/** The error that an answer stands for. Only a problem document of ours speaks for the service. */
export async function errorOf(response: Response): Promise<BellwireError> {
  const { status, headers } = response
  const problem: { type?: string; detail?: string } | null = await response.json().catch(() => null)
  const slug = problem?.type?.split?.('https://bellwire.dev/problems/')[1]
  const seconds = Number.parseFloat(headers.get('retry-after')!)
  return new BellwireError(
    slug ?? `status-${status}`,
    slug ? problem!.detail! : `not an answer of Bellwire: ${status} ${headers.get('content-type')}`,
    slug ? status : 0,
    // Not all at one time.
    seconds >= 0 ? Math.min(MAX_RETRY_AFTER_MS, seconds * (1000 + Math.random() * 250)) : undefined
  )
}
