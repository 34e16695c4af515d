import type { Recipients } from '../../log/notification.ts'

/**
 * Recipients as one string: the name of a channel, or `users:` and one name a line. No name
 * contains a line end.
 */
export function encodeRecipients(to: Recipients): string {
  if ('user' in to) return `user:${to.user}`
  if ('users' in to) return `users:${to.users.join('\n')}`
  return 'topic' in to ? `topic:${to.topic}` : 'everyone'
}

/** The inverse of {@link encodeRecipients}. */
export function decodeRecipients(text: string): Recipients {
  if (text.startsWith('user:')) return { user: text.slice(5) }
  if (text.startsWith('users:')) return { users: text.slice(6).split('\n') }
  return text === 'everyone' ? { everyone: true } : { topic: text.slice(6) }
}
