import { type Weight, weightOf } from '../bounds/fair-queue.ts'
import type { Publication } from '../log/notification.ts'

/** What a publication costs an embedded store. */
export const weightOfPublication = ({ content, to }: Publication): Weight =>
  weightOf(content, 'users' in to ? to.users.length : 1)
