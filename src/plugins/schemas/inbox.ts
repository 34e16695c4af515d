import { z } from 'zod'
import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { storedFields } from '../../log/content.ts'
import type { MarkOp } from '../../log/event.ts'
import { TOPICS_QUERY } from './topics.ts'

const reader = {
  topics: z.string().optional().describe(TOPICS_QUERY),
  ticket: z.string().optional().describe('Single-use ticket from POST /v1/tickets')
}

/** Query of counts and marks. */
export const ReaderQuery = z.object(reader)

const LIMIT = 'must be a whole number from 1 to 100'
/** Query of a page of the inbox. */
export const InboxQuery = z.object({
  ...reader,
  status: z.enum(['all', 'unread', 'archived'], 'must be all, unread or archived').default('all'),
  limit: z
    .string()
    .regex(/^(?:[1-9]\d?|100)$/, LIMIT)
    .default('25')
    .transform(Number)
    .describe('Items in one page'),
  before: z.string().optional().describe('`next` of the previous page')
})

/** A cursor in our form. Fixed, because the real head would tell anyone how much is published. */
const EXAMPLE_CURSOR = '0n9a2h58yq-42'
/** An id in our form. To mark an id that does not exist changes nothing. */
const EXAMPLE_ID = '01890a5d-ac96-774b-bcce-b302099a8057'

const ids = z
  // An id that cannot exist is ignored like one that does not, so nothing else is checked.
  .array(z.string().max(200, 'must be an id that this service returned'))
  .max(MAX_ENTRIES.markIds, `must hold at most ${MAX_ENTRIES.markIds} ids`)
const upTo = z
  .string()
  .max(200, 'must be a cursor that this service returned')
  .describe('Cursor: marks everything up to it')

/** Body of a mark by ids. */
export const IdsOnly = z.strictObject({ ids }).meta({ examples: [{ ids: [EXAMPLE_ID] }] })
/** Body of a mark up to a cursor. */
export const UpToOnly = z.strictObject({ upTo }).meta({ examples: [{ upTo: EXAMPLE_CURSOR }] })
/** Body of a mark by either. */
export const IdsOrUpTo = z
  .strictObject({ ids: ids.nullish(), upTo: upTo.nullish() })
  .refine(
    (body) => (body.ids == null) !== (body.upTo == null),
    'must have exactly one of ids and upTo'
  )
  .meta({
    minProperties: 1,
    description: 'Exactly one of the two; null counts as left out',
    examples: [{ ids: [EXAMPLE_ID] }]
  })

/** Ways to mark: the last part of the path, the operation, and the body. */
export const MARKS = [
  { path: 'read', op: 'read', body: IdsOrUpTo, operationId: 'markRead', summary: 'Mark as read' },
  {
    path: 'unread',
    op: 'unread',
    body: IdsOnly,
    operationId: 'markUnread',
    summary: 'Mark as unread'
  },
  { path: 'archive', op: 'archived', body: IdsOrUpTo, operationId: 'archive', summary: 'Archive' },
  {
    path: 'seen',
    op: 'seen',
    body: UpToOnly,
    operationId: 'markSeen',
    summary: 'Mark as seen, up to a cursor'
  }
] as const satisfies readonly { readonly op: MarkOp; readonly [field: string]: unknown }[]

/** Counts of an inbox. */
export const CountsAnswer = z
  .object({ unread: z.int(), unseen: z.int() })
  .describe('What is left, in the requested topics')
const Item = z.object({
  id: z.string(),
  cursor: z.string(),
  ...storedFields,
  topic: z.string().optional(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
  readAt: z.iso.datetime().nullable(),
  seen: z.boolean(),
  times: z.int(),
  replaces: z.string().optional()
})
/** A page of the inbox. */
export const InboxAnswer = z
  .object({
    items: z.array(Item),
    counts: CountsAnswer,
    cursor: z.string(),
    next: z.string().nullable()
  })
  .describe('One page; `next` is `before` of the next page, or null on the last')
/** What a mark changed. */
export const MarkAnswer = z
  .object({ affected: z.int(), counts: CountsAnswer, cursor: z.string() })
  .describe('Marked and durable: how many items changed, and what is left')
