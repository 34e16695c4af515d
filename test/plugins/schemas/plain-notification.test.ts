import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  plainBatchItem,
  plainNotification
} from '../../../src/plugins/schemas/plain-notification.ts'
import { BatchItem, NotificationInput } from '../../../src/plugins/schemas/publish-body.ts'

const oneOf = fc.constantFrom
const text = fc.string({ unit: 'binary', maxLength: 210 })
const anything = fc.jsonValue({ maxDepth: 3 })
const name = fc.oneof(
  { weight: 8, arbitrary: oneOf('ann', 'bob', 'project:7') },
  { weight: 1, arbitrary: oneOf('auth0|64ab', 'a b', '', 'ä') },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme-ascii', maxLength: 130 }) }
)
const usually = <T>(usual: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: anything })
const to = fc.oneof(
  fc.record({ user: usually(name) }),
  fc.record({ users: usually(fc.array(usually(name), { maxLength: 4 })) }),
  fc.record({ topic: usually(name) }),
  fc.record({ everyone: usually(oneOf(true, false)) }),
  fc.record({ user: name, users: fc.array(name), topic: name }, { requiredKeys: [] }),
  anything
)
const address = oneOf(
  '/a',
  '//a',
  '/\\a',
  'https://a.example/b?c#d',
  'HTTP://a',
  'https://',
  'javascript:alert(1)',
  '/a\u0000',
  '/\ud800',
  ''
)
const fields = {
  to: usually(to),
  type: usually(oneOf('comment', 'a.b', 'a:c-d_e', 'a b', '', 'x'.repeat(64), 'x'.repeat(65))),
  title: usually(text),
  body: usually(
    fc.oneof(text, oneOf('x'.repeat(4000), 'x'.repeat(4001), '\ud800', '😀'.repeat(4000)))
  ),
  url: usually(address),
  image: usually(address),
  level: usually(oneOf('info', 'success', 'warning', 'error', 'INFO')),
  data: usually(
    fc.oneof(
      fc.dictionary(fc.string(), anything),
      oneOf({ n: 2 ** 53 }, { n: 1e21 }, { s: '\ud800' }, JSON.parse('{"__proto__":{"a":1}}'))
    )
  ),
  key: usually(oneOf('draft', 'a b', 'ä', '', 'x'.repeat(128), 'x'.repeat(129))),
  expiresAt: usually(oneOf('2030-01-01T00:00:00Z', '2030-01-01')),
  ttl: usually(oneOf(0, 1, 1.5, 60, 1e300)),
  ephemeral: usually(fc.boolean()),
  idempotencyKey: usually(oneOf('k', 'a b', '')),
  unknown: anything
}
// Few fields at a time, or hardly any notification would be valid.
const notification = fc
  .tuple(
    fc.record({ to: fields.to, type: fields.type }, { requiredKeys: ['to', 'type'] }),
    fc.record(fields, { requiredKeys: [] }),
    fc.subarray(Object.keys(fields), { maxLength: 4 })
  )
  .map(([needed, all, names]) => ({
    ...needed,
    ...Object.fromEntries(Object.entries(all).filter(([key]) => names.includes(key)))
  }))

t.test('what is recognized as plain is what the schema makes of it', async (t) => {
  let plain = 0
  let runs = 0
  const agrees = (
    recognize: (value: unknown) => unknown,
    schema: typeof NotificationInput | typeof BatchItem,
    value: unknown
  ): void => {
    runs++
    const recognized = recognize(value)
    if (recognized === undefined) return
    plain++
    const parsed = schema.safeParse(value)
    if (!parsed.success) throw new Error(`the schema rejects it: ${parsed.error.message}`)
    if (!isDeepStrictEqual(recognized, parsed.data)) throw new Error('they differ')
  }
  await fc.assert(
    fc.property(
      fc.oneof({ weight: 30, arbitrary: notification }, { weight: 1, arbitrary: anything }),
      (given) => {
        // As it arrives: from JSON.
        const value: unknown = JSON.parse(JSON.stringify(given))
        agrees(plainNotification, NotificationInput, value)
        agrees(plainBatchItem, BatchItem, value)
      }
    ),
    { numRuns: 2000 }
  )
  t.ok(plain > runs / 40, `${plain} of ${runs} were plain`)
})

t.test('the usual notification is plain', async (t) => {
  const usual = {
    to: { user: 'ann' },
    type: 'comment',
    title: 'Tïtle 😀',
    body: 'Body',
    url: '/drafts/7',
    image: 'https://img.example/7.png',
    data: { draft: 7, tags: ['a', null] },
    key: 'draft:7',
    ttl: 60,
    ephemeral: false
  }
  t.strictSame(plainNotification(usual), { ...usual, level: 'info' })
  const item = { ...usual, to: { users: ['ann', 'bob'] }, level: 'error', idempotencyKey: 'k' }
  t.strictSame(plainBatchItem(item), item)
  t.equal(plainNotification(item), undefined, 'only items have an idempotency key of their own')
  t.equal(plainNotification({ ...usual, title: null }), undefined, 'null is for the schema')
})
