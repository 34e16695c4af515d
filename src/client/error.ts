/** What went wrong between this page and the service. */
export class BellwireError extends Error {
  /** The last part of the problem's type, such as `forbidden`; or `network`, `silent`, `not-a-stream`, `closed`, `user_changed`. */
  declare readonly code: string
  /** Status of the answer; 0 where there was none. */
  declare readonly status: number
  /** When the service wants to be asked again, if it said so. */
  declare readonly retryAfterMs: number | undefined

  constructor(code: string, message: string, status = 0, retryAfterMs?: number) {
    super(message)
    Object.assign(this, { name: 'BellwireError', code, status, retryAfterMs })
  }
}

/** What is no error of ours yet came from the network, or from a callback that uses it. */
export const asError = (error: unknown): BellwireError =>
  error instanceof BellwireError ? error : new BellwireError('network', `no answer: ${error}`)

/** The error that an answer stands for. */
export async function errorOf(response: Response): Promise<BellwireError> {
  const { status, headers } = response
  const problem: { type?: string; detail?: string } = await response.json().catch(() => ({}))
  const seconds = Number.parseInt(headers.get('retry-after')!, 10)
  return new BellwireError(
    problem.type?.split('/').pop() ?? `status-${status}`,
    problem.detail ?? `the service answered ${status}`,
    status,
    // Not all at one time.
    seconds >= 0 ? seconds * (1000 + Math.random() * 250) : undefined
  )
}
