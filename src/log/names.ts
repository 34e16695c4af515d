import { z } from 'zod'

/** A name of a topic. */
export const TOPIC_PATTERN = /^[A-Za-z0-9_.:@/-]{1,128}$/
/** A name of a user: identity providers issue `auth0|64ab0c1d` and `ann+alerts@example.com`. */
export const USER_PATTERN = /^[A-Za-z0-9_.:@/|+=~-]{1,128}$/

/** What a name of a user must be, for messages. */
export const USER_RULE = 'must be 1–128 characters of A–Z a–z 0–9 _ . : @ / | + = ~ -'
/** What a name of a topic must be, for messages. */
export const TOPIC_RULE = 'must be 1–128 characters of A–Z a–z 0–9 _ . : @ / -'

/** A name of a user, checked at the door. */
export const UserName = z.string().regex(USER_PATTERN, USER_RULE)

/** A name of a topic, checked at the door. */
export const TopicName = z.string().regex(TOPIC_PATTERN, TOPIC_RULE)

/** A user in a credential: a name, or a whole number, which databases count users with. */
export const CredentialUser = z.union([UserName, z.int().nonnegative().transform(String)])

/** A topic in a credential: a name, or a prefix that ends in `*` and matches any rest. */
export const TopicGrant = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9_.:@/-]{1,128}|[A-Za-z0-9_.:@/-]{0,127}\*)$/,
    'must be a topic name, or a prefix that ends in *'
  )

/** An id of ours in a request: anything else cannot exist. */
export const Id = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be an id as answered by this service')
