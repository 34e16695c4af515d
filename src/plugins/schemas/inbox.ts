import { z } from 'zod'
import { MAX_ENTRIES } from '../../bounds/limits.ts'
import { contentMembers } from './content.ts'
import { TOPICS_QUERY } from './topics.ts'

const reader = {
  topics: z.string().optional().describe(TOPICS_QUERY),
  ticket: z.string().optional().describe('Single-use ticket from POST /v1/tickets')
}

/** Query of counts and marks. */
export const ReaderQuery = z.object(reader)

const LIMIT = 'must be a whole number from 1 to 100'
export const InboxQuery = z.object({
  ...reader,
  status: z.enum(['all', 'unread', 'archived'], 'must be all, unread or archived').default('all'),
  limit: z
    .string()
    .regex(/^(?:[1-9]\d?|100)$/, LIMIT)
    .default('25')
    .transform(Number)
    .describe('Items in one page'),
  before: z.string().optional().describe('`next` of the page before')
})

/** In the form of ours. Fixed: the log's own head would show anyone how much is published. */
const EXAMPLE_CURSOR = '0n9a2h58yq-42'
/** In the form of ours; marking an id that does not exist changes nothing. */
const EXAMPLE_ID = '01890a5d-ac96-774b-bcce-b302099a8057'

const ids = z
  // Ids that cannot exist count as not there, so they are not checked any closer.
  .array(z.string().max(200, 'must be an id as answered by this service'))
  .max(MAX_ENTRIES.markIds, `must hold at most ${MAX_ENTRIES.markIds} ids`)
const upTo = z
  .string()
  .max(200, 'must be a cursor as answered by this service')
  .describe('Cursor: everything up to it')

export const IdsOnly = z.strictObject({ ids }).meta({ examples: [{ ids: [EXAMPLE_ID] }] })
export const UpToOnly = z.strictObject({ upTo }).meta({ examples: [{ upTo: EXAMPLE_CURSOR }] })
export const IdsOrUpTo = z
  .strictObject({ ids: ids.nullish(), upTo: upTo.nullish() })
  .refine(
    (body) => (body.ids == null) !== (body.upTo == null),
    'must have exactly one of ids and upTo'
  )
  .meta({
    minProperties: 1,
    description: 'Exactly one of the two; null is as if it were left out',
    examples: [{ ids: [EXAMPLE_ID] }]
  })

export const CountsAnswer = z
  .object({ unread: z.int(), unseen: z.int() })
  .describe('What is left, in the topics asked for')
const Item = z.object({
  id: z.string(),
  cursor: z.string(),
  ...contentMembers,
  topic: z.string().optional(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
  readAt: z.iso.datetime().nullable(),
  seen: z.boolean(),
  times: z.int(),
  replaces: z.string().optional()
})
export const InboxAnswer = z
  .object({
    items: z.array(Item),
    counts: CountsAnswer,
    cursor: z.string(),
    next: z.string().nullable()
  })
  .describe('One page; `next` is `before` of the page after it, or null')
export const MarkAnswer = z
  .object({ affected: z.int(), counts: CountsAnswer, cursor: z.string() })
  .describe('Marked and durable: how many that changed, and what is left')
