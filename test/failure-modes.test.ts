import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'

/** The rows of test/failure-modes.md: an id, what goes wrong, and what guards against it. */
const ROWS = [
  ...readFileSync('test/failure-modes.md', 'utf8').matchAll(/^\| ([A-Z]\d+) \| (.+?) \| (.+) \|$/gm)
].map(([, id = '', wrong = '', guard = '']) => {
  const [, file, title = ''] = /^\[.+\]\((.+)\): “(.+)”$/.exec(guard) ?? []
  return { id, wrong, guard, file: file && path.join('test', file), title }
})

/** How many rows each section has, so that none gets lost. */
const LISTED = { A: 20, B: 12, C: 9, D: 7, E: 5, F: 6, G: 13, H: 4, I: 15 } as const

test('no failure mode is missing from the list', async (t) => {
  const ids = Object.entries(LISTED).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, n) => `${letter}${n + 1}`)
  )
  t.strictSame(
    ROWS.map(({ id }) => id),
    ids
  )
})

test('each failure mode in the list names its test, or why it cannot happen', async (t) => {
  for (const { id, wrong, guard, file, title } of ROWS) {
    if (file === undefined) {
      t.ok(guard.length > 20, `${id} ${wrong}: ${guard}`)
      continue
    }
    const source = readFileSync(file, 'utf8')
    // A loop may append to a title in a template.
    const found = [`'${title}'`, `\`${title}\``, `\`${title} (`].some((text) =>
      source.includes(text)
    )
    t.ok(found, `${id} ${wrong}: ${file} has “${title}”`)
  }
})

test('no guard asks for a stream without a socket', async (t) => {
  for (const { file } of ROWS)
    if (file !== undefined) t.notMatch(readFileSync(file, 'utf8'), /\.inject\(/)
})
