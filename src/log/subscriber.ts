/** Who is reading, as a verifier found it. */
export interface Subscriber {
  readonly user: string
  /** Names, or prefixes that end in `*`. */
  readonly topics: readonly string[]
  /** Milliseconds since 1970; after it the credential is worth nothing. */
  readonly expiresAt?: number | undefined
  /** Monotonic milliseconds (`performance.now()`) at which the check of the credential began. */
  readonly checkedAt?: number | undefined
}

/** The exact names a credential lists: what is read where no `topics=` asks otherwise. */
export const exactTopics = (subscriber: Subscriber): string[] =>
  subscriber.topics.filter((topic) => !topic.endsWith('*'))

/** Whether the credential covers a topic. Linear in the number of grants; no pattern language. */
export function allowsTopic(subscriber: Subscriber, topic: string): boolean {
  return subscriber.topics.some((grant) =>
    grant.endsWith('*') ? topic.startsWith(grant.slice(0, -1)) : grant === topic
  )
}
