import type { FastifyRequest } from 'fastify'
import type { Publication } from '../../log/notification.ts'
import { createNotificationId } from '../../log/notification-id.ts'
import { type Checked, checkNotification, TOO_LARGE } from './check-notification.ts'
import { faultsOf, summaryOf } from './faults.ts'
import { ProblemError } from './problem.ts'
import {
  BatchInput,
  expiryOf,
  fingerprintOf,
  IDEMPOTENCY_KEY,
  type NotificationInput,
  recipientsOf
} from './publish-body.ts'

/** A notification as its producer sent it, valid, and its content as JSON members. */
export type ValidNotification = Extract<Checked<NotificationInput>, { readonly input: unknown }>

/** The header `Idempotency-Key`; undefined without one. Throws `validation` if it is not a key. */
export function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key
  const fault = { pointer: 'Idempotency-Key', detail: 'must be 1–255 visible ASCII characters' }
  throw new ProblemError('validation', summaryOf([fault]), { errors: [fault] })
}

const noBody = (): ProblemError => new ProblemError('malformed', 'The body is empty; send JSON.')

/** The notification in a body. Throws `malformed`, `payload-too-large` or `validation`. */
export function notificationIn(body: unknown): ValidNotification {
  if (body === undefined) throw noBody()
  const checked = checkNotification(body)
  if (!('faults' in checked)) return checked
  if (checked.tooLarge)
    throw new ProblemError('payload-too-large', `The notification ${TOO_LARGE}.`)
  throw new ProblemError('validation', summaryOf(checked.faults), { errors: checked.faults })
}

/** The items of a batch, each unchecked. Throws if the batch as a whole is invalid. */
export function itemsIn(body: unknown): readonly unknown[] {
  if (body === undefined) throw noBody()
  const batch = BatchInput.safeParse(body)
  if (batch.success) return batch.data.notifications
  const errors = faultsOf(batch.error.issues)
  throw new ProblemError('validation', summaryOf(errors), { errors })
}

/**
 * Gives a valid notification its id and its time. `key` is the idempotency key, if there is one.
 */
export function publicationOf(
  { input, content }: ValidNotification,
  producer: string,
  key: string | undefined
): Publication {
  const createdAt = Date.now()
  return {
    id: createNotificationId(createdAt),
    to: recipientsOf(input.to),
    content,
    key: input.key,
    createdAt,
    expiresAt: expiryOf(input, createdAt),
    ephemeral: input.ephemeral === true,
    // Producers choose their keys independently. No NUL in between: SQLite's driver ends a text
    // there.
    idempotency:
      key === undefined
        ? undefined
        : { key: `${producer}\n${key}`, fingerprint: fingerprintOf(input) },
    producer
  }
}
