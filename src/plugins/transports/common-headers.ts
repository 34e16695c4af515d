import type { FastifyReply, FastifyRequest } from 'fastify'
import { POLICIES } from './policies.ts'

/**
 * Sent with every response: no type sniffing, no framing by other sites, no `Referer`. The API
 * returns JSON, so its policy allows no resources; pages set their own policy.
 */
const SECURITY_HEADERS = {
  'content-security-policy': POLICIES.api,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN'
} as const

/**
 * Sets the headers of every response. They are constants: a library that builds them for each
 * request takes 5% of the time of a publish.
 */
export function setCommonHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(SECURITY_HEADERS).header('x-request-id', request.id)
}

/** Adds a request header to `Vary`, keeping those that are already there. */
export function addVary(reply: FastifyReply, name: string): void {
  const vary = reply.getHeader('vary')
  reply.header('vary', vary === undefined ? name : `${vary}, ${name}`)
}
