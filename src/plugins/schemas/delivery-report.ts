import { z } from 'zod'
import type { Verdict } from '../../monitoring/delivery-report.ts'

/** Each verdict of a delivery report in words. */
export const VERDICTS = {
  not_addressed: 'It was not for this user.',
  recalled: 'It was recalled: a user who had not seen it will never see it.',
  replaced: 'A later notification with the same collapse key replaced it.',
  expired: 'It expired.',
  beyond_retention: 'It is older than the retention, or its channel has too many newer ones.',
  written:
    'Bellwire wrote it to a connection of this user; it does not know what the page did with it.',
  behind: 'The user is connected but behind: it follows once they have read the earlier events.',
  topic_not_read:
    'The user is connected, but no connection reads this topic: the credential does not list it, or topics= left it out.',
  not_connected:
    'The user was not connected. If it is stored, it waits in the inbox and comes with the next connection (for a topic: if the credential lists it).'
} as const satisfies Record<Verdict, string>

const instant = z.iso.datetime()
const cursor = z.string()

/** The answer of `GET /monitor/notifications/{id}`. */
export const DeliveryReport = z
  .object({
    id: z.string(),
    fate: z.enum(['stored', 'ephemeral', 'recalled', 'replaced', 'expired', 'beyond_retention']),
    acceptedAt: instant,
    producer: z.string().nullable().describe('Name of the publish key; null: no longer known'),
    durableAfterMs: z.number().nullable().describe('Null: the process that accepted it has ended'),
    to: z
      .record(z.string(), z.unknown())
      .nullable()
      .describe(
        'If only the memory of a process knows it: at most 20 users, and in `more` how many others'
      ),
    channels: z
      .array(z.object({ channel: z.string(), cursor }))
      .describe('Where it is stored; at most 100'),
    channelCount: z.int(),
    expiresAt: instant.nullable(),
    recalledAt: instant.nullable(),
    replacedBy: z.string().nullable(),
    written: z
      .object({
        connections: z.int(),
        firstAt: instant.nullable(),
        lastAt: instant.nullable(),
        firstAfterMs: z.number().nullable()
      })
      .nullable()
      .describe(
        'Writes of all nodes to live connections, without replays. Null: no running process knows'
      ),
    readers: z
      .object({ seen: z.int(), read: z.int(), archived: z.int(), unread: z.int().nullable() })
      .nullable(),
    user: z
      .object({
        user: z.string(),
        verdict: z.enum(Object.keys(VERDICTS) as [Verdict, ...Verdict[]]),
        explanation: z.string(),
        connections: z.array(
          z.object({
            id: z.string(),
            openedAt: instant,
            closedAt: instant.nullable(),
            reason: z.string().nullable(),
            cursor: cursor.nullable()
          })
        )
      })
      .optional()
  })
  .describe('What is known of the notification')
