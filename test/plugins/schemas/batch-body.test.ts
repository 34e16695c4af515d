import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { MAX_ITEM_TEXT } from '../../../src/bounds/limits.ts'
import { OVERSIZED, parseBatch } from '../../../src/plugins/schemas/batch-body.ts'

const MALFORMED = { name: 'ProblemError', slug: 'malformed' }

t.test('a batch is parsed as JSON.parse would parse it, however it is formatted', async (t) => {
  const items = fc.array(fc.jsonValue({ maxDepth: 4 }), { maxLength: 8 })
  const gap = fc.constantFrom('', ' ', '\n\t', '\r\n ')
  await fc.assert(
    fc.asyncProperty(items, gap, fc.boolean(), async (notifications, gap, pretty) => {
      const text = `${gap}${JSON.stringify({ notifications }, null, pretty ? 2 : 0)}${gap}`
      if (!isDeepStrictEqual(await parseBatch(text), JSON.parse(text))) throw new Error(text)
    }),
    { numRuns: 300 }
  )
  for (const text of [
    '{"\\u006eotifications":[1,"a\\"]}",[{"b":"\\\\"}]]}',
    '{ }',
    '[1]',
    '"x"',
    '{"notifications":[1],"notifications":[2]}'
  ])
    t.strictSame(await parseBatch(text), JSON.parse(text), text)
})

t.test('a body that is not JSON is rejected as a whole, wherever it breaks off', async (t) => {
  const text = '{"notifications":[{"to":{"user":"a"},"type":"t\\""},17, [true]]}'
  for (let end = 1; end < text.length; end++)
    await t.rejects(parseBatch(text.slice(0, end)), MALFORMED)
  for (const broken of [
    '',
    '{"notifications":[1,]}',
    '{"notifications":[1}',
    '{"notifications":[{]]}',
    '{"notifications":[tru]}'
  ])
    await t.rejects(parseBatch(broken), MALFORMED, broken)
  for (const broken of [
    '{"notifications":[1]}}',
    '{"notifications":[1] "a"}',
    '{"notifications" [1]}',
    '{,}',
    '{a:1}',
    '{"a":1,}'
  ])
    await t.rejects(parseBatch(broken), MALFORMED, broken)
})

t.test('an item that is too long is not parsed, and does not affect the others', async (t) => {
  const fields = Array.from({ length: 200_000 }, (_, n) => `"f${n}":1`).join(',')
  const text = `{"notifications":[1,{${fields}},{"s":"${'\\"'.repeat(MAX_ITEM_TEXT)}"},2]}`
  t.strictSame(await parseBatch(text), { notifications: [1, OVERSIZED, OVERSIZED, 2] })
})

t.test(
  'a batch may name 100,000 recipients in total; one more is rejected before the rest is read',
  async (t) => {
    const users = Array.from({ length: 1000 }, (_, n) => `u${n}`)
    const named = Array.from({ length: 99 }, () => ({ to: { users } }))
    const rest = Array.from({ length: 900 }, () => ({ to: { everyone: true } }))
    const full = [...named, ...rest, { to: { users: [...users.slice(0, 100), 'u0', 'u1'] } }]
    t.match(await parseBatch(JSON.stringify({ notifications: full })), {
      notifications: { length: 1000 }
    })
    const over = JSON.stringify({
      notifications: [...named, ...rest.slice(1), { to: { users: users.slice(0, 102) } }]
    })
    await t.rejects(parseBatch(`${over.slice(0, -2)}, never read`), {
      name: 'ProblemError',
      slug: 'payload-too-large'
    })
  }
)
