import { NAME_PATTERN } from '../../core/names.ts'
import { allowsTopic, exactTopics, type Subscriber } from '../../core/subscriber.ts'
import { ProblemError } from '../../errors.ts'

/**
 * The topics a request reads: those of `topics=a,b`, each of which the credential must allow, or all exact names it lists.
 * An empty `topics=` reads none. A name that only a wildcard allows is read where it is asked for.
 */
export function selectTopics(subscriber: Subscriber, query: string | undefined): string[] {
  if (query === undefined) return [...new Set(exactTopics(subscriber))]
  if (query === '') return []
  const topics = [...new Set(query.split(','))]
  for (const topic of topics) {
    if (!NAME_PATTERN.test(topic)) {
      const detail = 'must be topic names separated by commas, each 1–128 characters of A–Z a–z 0–9 _ . : @ / -'
      throw new ProblemError('validation', `topics ${detail}.`, { errors: [{ pointer: 'topics', detail }] })
    }
  }
  const refused = topics.find((topic) => !allowsTopic(subscriber, topic))
  if (refused !== undefined) throw new ProblemError('forbidden', `The credential does not allow the topic ${refused}.`)
  return topics
}
