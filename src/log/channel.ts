import type { Recipients } from './notification.ts'

/** The recipients of an event: `user:<name>`, `topic:<name>` or `everyone`. */
export type Channel = `user:${string}` | `topic:${string}` | 'everyone'

/** The channel that every subscriber reads. */
export const EVERYONE = 'everyone' satisfies Channel
/** A user's own channel. */
export const userChannel = (user: string): Channel => `user:${user}`
/** The channel of a topic. */
export const topicChannel = (topic: string): Channel => `topic:${topic}`

/** Whether a string is a channel name. */
export const isChannel = (text: string): text is Channel =>
  text === EVERYONE || text.startsWith('user:') || text.startsWith('topic:')

/** True if only one user reads the channel, so that its frames may carry that user's counts. */
export const isPersonal = (channel: Channel): boolean => channel.startsWith('user:')

/** The name of the topic; undefined if it is not the channel of a topic. */
export const topicOf = (channel: Channel): string | undefined =>
  channel.startsWith('topic:') ? channel.slice(6) : undefined

/** The name of the user; undefined for a shared channel. */
export const userOf = (channel: Channel): string | undefined =>
  channel.startsWith('user:') ? channel.slice(5) : undefined

/** The channels of recipients, each once, in the order of the names. */
export function channelsOf(to: Recipients): Channel[] {
  if ('user' in to) return [userChannel(to.user)]
  if ('users' in to) return [...new Set(to.users)].map(userChannel)
  if ('topic' in to) return [topicChannel(to.topic)]
  return [EVERYONE]
}

/** The channels a subscriber reads: their own, everyone's, and those of the topics. */
export function scopeOf(user: string, topics: readonly string[]): Channel[] {
  return [userChannel(user), EVERYONE, ...topics.map(topicChannel)]
}
