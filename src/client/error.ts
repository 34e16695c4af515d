/** What went wrong between this page and the service. */
export class BellwireError extends Error {
  override readonly name = 'BellwireError'
  /** Status of the answer; 0 where there was none. */
  readonly status: number
  /** Last part of the problem's type, such as `forbidden`; or `network`, `silent`, `token`, `closed`, `user-changed`. */
  readonly code: string
  /** When the service wants to be asked again, if it said so. */
  readonly retryAfterMs: number | undefined

  constructor(code: string, message: string, status = 0, retryAfterMs?: number) {
    super(message)
    this.code = code
    this.status = status
    this.retryAfterMs = retryAfterMs
  }

  /** Whether the same may go well later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500
  }
}

/** The error that an answer stands for. */
export async function errorOf(response: Response): Promise<BellwireError> {
  const problem: { type?: string; detail?: string; title?: string } = await response.json().catch(() => ({}))
  const code = problem.type?.split('/').pop() ?? `status-${response.status}`
  const after = response.headers.get('retry-after')
  const wait = after === null ? Number.NaN : /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()
  const detail = problem.detail ?? problem.title ?? `the service answered ${response.status}`
  return new BellwireError(code, detail, response.status, wait >= 0 ? wait : undefined)
}
