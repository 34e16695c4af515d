import type { FastifyReply, FastifyRequest } from 'fastify'
import { POLICIES } from './policies.ts'

/**
 * Sent with every answer: no guessing of types, no frame around it, no address passed on to the sites its
 * links lead to. The API answers JSON, so a browser may load nothing from it; pages set their own policy.
 */
const SECURITY_HEADERS = {
  'content-security-policy': POLICIES.api,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN'
} as const

/**
 * Sets the headers that every answer carries. They are constants, set through the reply: a library that
 * builds them again for each request costs a twentieth of a publish.
 */
export function setCommonHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(SECURITY_HEADERS).header('x-request-id', request.id)
}

/** Adds a request header to `Vary`, and keeps what other hooks have set there. */
export function addVary(reply: FastifyReply, name: string): void {
  const vary = reply.getHeader('vary')
  reply.header('vary', vary === undefined ? name : `${vary}, ${name}`)
}
