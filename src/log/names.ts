import { z } from 'zod'

/** Matches the name of a topic. */
export const TOPIC_PATTERN = /^[A-Za-z0-9_.:@/-]{1,128}$/
/**
 * Matches the name of a user. Identity providers issue names such as `auth0|64ab0c1d` and
 * `ann+alerts@example.com`.
 */
export const USER_PATTERN = /^[A-Za-z0-9_.:@/|+=~-]{1,128}$/

/** The rule for names of users, for messages. */
export const USER_RULE = 'must be 1–128 characters of A–Z a–z 0–9 _ . : @ / | + = ~ -'
/** The rule for names of topics, for messages. */
export const TOPIC_RULE = 'must be 1–128 characters of A–Z a–z 0–9 _ . : @ / -'

/** Schema for the name of a user. */
export const UserName = z.string().regex(USER_PATTERN, USER_RULE)

/** Schema for the name of a topic. */
export const TopicName = z.string().regex(TOPIC_PATTERN, TOPIC_RULE)

/** Matches a topic in a credential: a name, or a prefix that ends in `*` and matches any rest. */
export const TOPIC_GRANT_PATTERN = /^(?:[A-Za-z0-9_.:@/-]{1,128}|[A-Za-z0-9_.:@/-]{0,127}\*)$/

/** Schema for a topic in a credential. */
export const TopicGrant = z
  .string()
  .regex(TOPIC_GRANT_PATTERN, 'must be a topic name, or a prefix that ends in *')

/** Schema for an id in a request. Bellwire issues no other ids. */
export const Id = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be an id as answered by this service')
