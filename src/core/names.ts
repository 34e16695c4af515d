import { z } from 'zod'

/** A user or topic name (contract of the wire: 1–128 of these characters). */
export const NAME_PATTERN = /^[A-Za-z0-9_.:@/-]{1,128}$/

/** A user or topic name, checked at the door. */
export const Name = z.string().regex(NAME_PATTERN, 'must be 1–128 characters of A–Z a–z 0–9 _ . : @ / -')

/** A topic in a credential: a name, or a prefix that ends in `*` and matches any rest. */
export const TopicGrant = z
  .string()
  .regex(/^(?:[A-Za-z0-9_.:@/-]{1,128}|[A-Za-z0-9_.:@/-]{0,127}\*)$/, 'must be a topic name, or a prefix that ends in *')

/** An id of ours in a request: anything else cannot exist. */
export const Id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be an id as answered by this service')
