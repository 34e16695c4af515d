import type { Recipients } from './notification.ts'

/** Where an event lies: `user:<name>`, `topic:<name>` or `everyone`. */
export type Channel = `user:${string}` | `topic:${string}` | 'everyone'

export const EVERYONE = 'everyone' satisfies Channel
export const userChannel = (user: string): Channel => `user:${user}`
export const topicChannel = (topic: string): Channel => `topic:${topic}`

/** Whether a text names a channel. */
export const isChannel = (text: string): text is Channel =>
  text === EVERYONE || text.startsWith('user:') || text.startsWith('topic:')

/** True where one user alone reads the channel, so that frames may carry that user's counts. */
export const isPersonal = (channel: Channel): boolean => channel.startsWith('user:')

/** The topic's name, or undefined for the other kinds of channel. */
export const topicOf = (channel: Channel): string | undefined =>
  channel.startsWith('topic:') ? channel.slice(6) : undefined

/** The user's name, or undefined for shared channels. */
export const userOf = (channel: Channel): string | undefined =>
  channel.startsWith('user:') ? channel.slice(5) : undefined

/** The channels a publication is appended to, each once, in the order they were named. */
export function channelsOf(to: Recipients): Channel[] {
  if ('user' in to) return [userChannel(to.user)]
  if ('users' in to) return [...new Set(to.users)].map(userChannel)
  if ('topic' in to) return [topicChannel(to.topic)]
  return [EVERYONE]
}

/** What one subscriber reads: its own channel, everyone, and its topics. */
export function scopeOf(user: string, topics: readonly string[]): Channel[] {
  return [userChannel(user), EVERYONE, ...topics.map(topicChannel)]
}
