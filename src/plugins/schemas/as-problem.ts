import type { FastifyError, FastifySchemaValidationError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { AuthError, type AuthErrorKind } from '../../auth/auth-error.ts'
import { StoreError } from '../../log/store.ts'
import { faultsOf, summaryOf } from './faults.ts'
import { type Fault, PROBLEMS, ProblemError, type ProblemSlug } from './problem.ts'

/** `Retry-After` of a failure that gave no time of its own, seconds. */
const RETRY_AFTER = 5

/** Statuses that Fastify and its plugins raise by themselves. */
const SLUG_OF_STATUS: Readonly<Record<number, ProblemSlug>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  405: 'method-not-allowed',
  413: 'payload-too-large',
  415: 'unsupported-media-type',
  422: 'validation',
  429: 'rate-limited',
  503: 'unavailable'
}
const DETAIL_OF: Partial<Record<ProblemSlug, string>> = {
  malformed: 'The request cannot be read; send valid JSON in UTF-8.',
  'payload-too-large': 'The body is too large: send less at once.',
  'unsupported-media-type': 'Send Content-Type: application/json.',
  'rate-limited': 'Too many requests; slow down.',
  unavailable: 'Temporarily unavailable; try again.'
}

const SLUG_OF_AUTH_ERROR = {
  denied: 'unauthenticated',
  forbidden: 'forbidden',
  unavailable: 'unavailable'
} as const satisfies Record<AuthErrorKind, ProblemSlug>

const INTERNAL = 'An internal error occurred. The log has the details.'

/** Any error as one of ours. What went wrong inside stays behind in `cause`. */
export function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof AuthError) return authProblem(error)
  if (error instanceof StoreError) {
    return error.kind === 'full'
      ? new ProblemError(
          'store-full',
          'The store is full: nothing was accepted. Make room, then try again.',
          { cause: error }
        )
      : new ProblemError('unavailable', 'The store is not responding: try again.', {
          retryAfter: RETRY_AFTER,
          cause: error
        })
  }
  if (hasZodFastifySchemaValidationErrors(error))
    return validationProblem(error, error.validation, error.validationContext)
  const known: Partial<FastifyError> = typeof error === 'object' && error !== null ? error : {}
  const { statusCode, code, message } = known
  if (statusCode === undefined || statusCode < 400)
    return new ProblemError('internal', INTERNAL, { cause: error })
  const slug = SLUG_OF_STATUS[statusCode] ?? (statusCode < 500 ? 'malformed' : 'internal')
  if (slug === 'internal') return new ProblemError(slug, INTERNAL, { cause: error })
  const detail =
    code?.startsWith('FST_ERR_CTP_') && slug === 'malformed'
      ? `${message}.`.replace(/\.\.$/, '.')
      : DETAIL_OF[slug]
  return new ProblemError(slug, detail ?? PROBLEMS[slug].title, {
    cause: error,
    ...(slug === 'unavailable' || slug === 'rate-limited' ? { retryAfter: RETRY_AFTER } : {})
  })
}

function authProblem({ kind, message, cause }: AuthError): ProblemError {
  const retryAfter = kind === 'unavailable' ? { retryAfter: RETRY_AFTER } : {}
  return new ProblemError(SLUG_OF_AUTH_ERROR[kind], message, { ...retryAfter, cause })
}

function validationProblem(
  cause: unknown,
  issues: readonly FastifySchemaValidationError[],
  context: FastifyError['validationContext']
): ProblemError {
  const inBody = context === undefined || context === 'body'
  const faults = faultsOf(
    issues.map((issue) => ({
      path: issue.instancePath === '/' ? [] : issue.instancePath.split('/').slice(1),
      code: issue.keyword,
      message: issue.message ?? 'breaks a rule',
      keys: issue.params['keys'] as string[] | undefined
    }))
  )
  // A query parameter or a part of the path is known by its name.
  const errors: Fault[] = inBody
    ? faults
    : faults.map(({ pointer, detail }) => ({ pointer: pointer.slice(1), detail }))
  return new ProblemError('validation', summaryOf(errors), { errors, cause })
}
