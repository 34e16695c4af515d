import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { SETTING_GROUPS, SETTINGS, type Setting } from '../../src/config/settings.ts'

const INTRODUCTION = `# Every setting of Bellwire with its default. Copy this file to .env and uncomment what you change.
# The service and its commands read .env from the folder of the clone, whatever the working directory
# is. The environment wins over it. An empty value counts as unset.
# Write NAME=value, one per line. Put a value that contains # in quotes ('…' or "…"), which are not
# part of it; a comment after a value needs a space before its #.
# Durations are milliseconds, 100 or more. Limits are 1 or more; 0 switches a limit off.
# A secret X can be given as X_FILE instead: the path of a file that holds it.
# Without any setting the service starts for development: on 127.0.0.1, with fixed keys that
# production refuses.
`

/** Comment lines of at most 100 columns. */
function comment(text: string): string {
  const lines = ['#']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (`${last} ${word}`.length <= 100) lines.splice(-1, 1, `${last} ${word}`)
    else lines.push(`# ${word}`)
  }
  return `${lines.join('\n')}\n`
}

function entry({ name, default: fallback, secret, description }: Setting): string {
  const sentence = `${description[0]!.toUpperCase()}${description.slice(1)}.`
  const file = secret ? ` Secret; also as ${name}_FILE.` : ''
  return `\n${comment(sentence + file)}# ${name}=${fallback}\n`
}

/** What `.env.example` must be. */
const envExample = (): string =>
  INTRODUCTION +
  SETTING_GROUPS.map(
    ({ title, note, settings }) =>
      `\n# --- ${title} ---\n${note === undefined ? '' : `# ${note}\n`}${settings.map(entry).join('')}`
  ).join('')

test('.env.example matches the table of settings', async (t) => {
  if (process.env['UPDATE'] === '1') writeFileSync('.env.example', envExample())
  t.equal(
    readFileSync('.env.example', 'utf8'),
    envExample(),
    'to write it: UPDATE=1 npx tap test/config/settings.test.ts'
  )
})

test('every setting has a description and belongs to one group', async (t) => {
  for (const { name, description } of SETTINGS) t.ok(description.length > 10, name)
  t.strictSame(
    SETTING_GROUPS.flatMap(({ settings }) => settings),
    SETTINGS
  )
})

/** The tables of a Markdown text: the name and the default in each row. */
function tablesOf(markdown: string): Map<string, string>[] {
  const tables = markdown.match(/^(?:\|.*\n)+/gm) ?? []
  return tables.map(
    (table) =>
      new Map(
        [...table.matchAll(/^\| `([A-Z][A-Z_]+)` \| ?(.*?) ?\|/gm)].map(
          ([, name = '', fallback = '']) => [name, fallback]
        )
      )
  )
}

test('one table of the documentation lists exactly these settings with their defaults', async (t) => {
  const pages = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((file) => path.basename(file) === 'README.md')
    .map((file) => path.join('src', file))
  const tables = ['README.md', ...pages]
    .filter((file) => existsSync(file))
    .flatMap((file) => tablesOf(readFileSync(file, 'utf8')))
    .filter((table) => table.has('NODE_ENV') && table.has('PORT'))
  t.equal(tables.length, 1, 'one table of settings')
  const [table = new Map<string, string>()] = tables
  t.strictSame([...table.keys()].toSorted(), SETTINGS.map(({ name }) => name).toSorted())
  for (const { name, default: fallback } of SETTINGS)
    if (fallback) t.match(table.get(name), `\`${fallback}\``, `${name} defaults to ${fallback}`)
})
