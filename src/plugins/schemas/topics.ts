import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { TOPIC_PATTERN } from '../../log/names.ts'
import { allowsTopic, exactTopics, type Subscriber } from '../../log/subscriber.ts'
import { ProblemError } from './problem.ts'

/** What the documentation says about `topics=`. */
export const TOPICS_QUERY = `Comma-separated names, at most ${MAX_ENTRIES.topics}; default: all exact names of the credential`

/**
 * The topics a request reads: those of `topics=a,b`, each of which the credential must allow, or
 * all exact names it lists. An empty `topics=` reads none. A name that only a wildcard allows is
 * read if it is asked for. Throws `validation` for more than {@link MAX_ENTRIES} `topics`: a
 * credential may list more, if `topics=` narrows them.
 */
export function selectTopics(subscriber: Subscriber, query: string | undefined): string[] {
  if (query === '') return []
  const topics = [...new Set(query === undefined ? exactTopics(subscriber) : query.split(','))]
  if (topics.length > MAX_ENTRIES.topics) {
    const most = `${MAX_ENTRIES.topics} topics at a time`
    throw refusal(
      query === undefined
        ? `must name at most ${most} of the ${topics.length} that the credential lists: narrow by topics=`
        : `must name at most ${most}, not ${topics.length}: narrow by topics=`
    )
  }
  if (query === undefined) return topics
  for (const topic of topics) {
    if (!TOPIC_PATTERN.test(topic))
      throw refusal(
        'must be topic names separated by commas, each 1–128 characters of A–Z a–z 0–9 _ . : @ / -'
      )
  }
  const refused = topics.find((topic) => !allowsTopic(subscriber, topic))
  if (refused !== undefined)
    throw new ProblemError('forbidden', `The credential does not allow the topic ${refused}.`)
  return topics
}

const refusal = (detail: string): ProblemError =>
  new ProblemError('validation', `topics ${detail}.`, { errors: [{ pointer: 'topics', detail }] })
