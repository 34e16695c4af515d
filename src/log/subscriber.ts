/** The user that a credential identifies, and what they may read. */
export interface Subscriber {
  readonly user: string
  /** Names of topics, or prefixes that end in `*`. */
  readonly topics: readonly string[]
  /** When the credential expires, in milliseconds since 1970. */
  readonly expiresAt?: number | undefined
  /** When the check of the credential began, as `performance.now()`. */
  readonly checkedAt?: number | undefined
}

/** The exact names a credential lists: the topics of a stream without `topics=`. */
export const exactTopics = (subscriber: Subscriber): string[] =>
  subscriber.topics.filter((topic) => !topic.endsWith('*'))

/** Whether the credential covers a topic. Linear in the number of grants. */
export function allowsTopic(subscriber: Subscriber, topic: string): boolean {
  return subscriber.topics.some((grant) =>
    grant.endsWith('*') ? topic.startsWith(grant.slice(0, -1)) : grant === topic
  )
}
