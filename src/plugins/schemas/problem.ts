/**
 * The one table of errors that callers see: slug → status and title (RFC 9457 `type` is the slug
 * under a fixed address).
 */
export const PROBLEMS = {
  validation: { status: 422, title: 'The request is well-formed but breaks a rule' },
  malformed: { status: 400, title: 'The request cannot be read' },
  unauthenticated: { status: 401, title: 'No valid credential' },
  forbidden: { status: 403, title: 'Not allowed' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'Method not allowed' },
  'payload-too-large': { status: 413, title: 'Too large' },
  'unsupported-media-type': { status: 415, title: 'Unsupported media type' },
  'upgrade-required': { status: 426, title: 'This address speaks another protocol' },
  'idempotency-key-reused': { status: 422, title: 'Idempotency key used for another request' },
  'rate-limited': { status: 429, title: 'Too many requests' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  'store-full': { status: 507, title: 'The store is full' },
  internal: { status: 500, title: 'Internal error' }
} as const satisfies Record<string, { status: number; title: string }>

export type ProblemSlug = keyof typeof PROBLEMS

/**
 * One fault of a request: a JSON pointer into its body (RFC 6901), or the name of a query parameter
 * or header, and what to do.
 */
export interface Fault {
  readonly pointer: string
  readonly detail: string
  /** In the last of many: for how many faults it stands, which are not reported one by one. */
  readonly more?: number
}

/** The body of every error answer (RFC 9457). */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly requestId?: string
  readonly errors?: readonly Fault[]
}

/**
 * Thrown by handlers and hooks; the errors plugin turns it into the answer. `detail` is shown to
 * the caller and says what to do.
 */
export class ProblemError extends Error {
  readonly slug: ProblemSlug
  readonly errors: readonly Fault[]
  /** Seconds; sets `Retry-After`. */
  readonly retryAfter: number | undefined
  constructor(
    slug: ProblemSlug,
    detail: string,
    options: { errors?: readonly Fault[]; retryAfter?: number; cause?: unknown } = {}
  ) {
    super(detail, { cause: options.cause })
    this.name = 'ProblemError'
    this.slug = slug
    this.errors = options.errors ?? []
    this.retryAfter = options.retryAfter
  }
  get statusCode(): number {
    return PROBLEMS[this.slug].status
  }
}

/** The document for one error. */
export function problemDocument(
  slug: ProblemSlug,
  detail: string,
  requestId?: string,
  errors?: readonly Fault[]
): Problem {
  const { status, title } = PROBLEMS[slug]
  return {
    type: `https://bellwire.dev/problems/${slug}`,
    title,
    status,
    detail,
    ...(requestId ? { requestId } : {}),
    ...(errors?.length ? { errors } : {})
  }
}
