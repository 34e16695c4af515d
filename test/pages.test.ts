import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { FIGURES } from '../src/monitoring/figures.ts'
import { RULES } from '../src/monitoring/health-rules.ts'
import { InboxAnswer } from '../src/plugins/schemas/inbox.ts'
import { PROBLEMS } from '../src/plugins/schemas/problem.ts'
import { NotificationInput } from '../src/plugins/schemas/publish-body.ts'
import { blocksOf, PAGES, page } from './fixtures/pages.ts'

/** Commands that need more than a running service, and the test that runs them. */
const RUN_ELSEWHERE = {
  'npm ci && npm start': 'test/service/npm-start.slow.ts',
  'npm ci && npm test': '.ci/run',
  'STORE=redis REDIS_URL=redis://redis.internal:6379 node dist/main.js import inbox.ndjson':
    'test/service/migrate.slow.ts',
  'docker build -t bellwire .': 'Dockerfile',
  'docker run -p 3000:3000 -v bellwire:/data -e PUBLISH_KEYS=… -e MONITOR_KEYS=… -e AUTH_JWT_SECRET=… bellwire':
    'Dockerfile',
  'docker/make-secrets.sh': 'test/service/nginx.slow.ts',
  'docker compose -f docker/compose.yaml up --build --detach --wait': 'docker/compose.yaml'
}

test('commands that need more than a running service are run by another test', async (t) => {
  const commands = [...PAGES.values()].flatMap((text) =>
    blocksOf(text, 'console').flatMap((block) => block.trim().split('\n'))
  )
  t.same(
    [...new Set(commands)].sort(),
    Object.keys(RUN_ELSEWHERE).sort(),
    'each is listed with the file that runs it'
  )
  for (const file of Object.values(RUN_ELSEWHERE)) t.ok(existsSync(file), file)
})

test('every npm script that the pages name exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    scripts: Record<string, string>
  }
  for (const [file, text] of PAGES)
    for (const [, name] of text.matchAll(/npm run ([\w:]+)/g))
      t.ok(name! in scripts, `${file}: npm run ${name}`)
})

/** Names in the first column of a table, whose heading is given. */
function namesIn(text: string, heading: string): string[] {
  const [, rows = ''] = text.split(`| ${heading} |`)
  const [table = ''] = rows.split('\n\n')
  return table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...line.split(' | ')[0]!.matchAll(/`([\w.]+)`/g)].map(([, name]) => name!))
}

test('the table of figures has every figure of /monitor, and no other', async (t) => {
  let group = ''
  const paths = namesIn(page('src/monitoring/README.md'), 'figure').map((name) => {
    const grouped = name.includes('.')
    if (grouped) group = name.slice(0, name.indexOf('.') + 1)
    return grouped || !FIGURES.some(({ path }) => path === group + name) ? name : group + name
  })
  t.same(paths.sort(), FIGURES.flatMap(({ path }) => path ?? []).sort())
})

test('the tables of fields have every field of a notification and of an item', async (t) => {
  const fields = namesIn(page('src/plugins/README.md'), 'field')
  t.same(fields.sort(), Object.keys(NotificationInput.shape).sort())
  const members = namesIn(page('src/delivery/README.md'), 'field of an item')
  t.same(members.sort(), Object.keys(InboxAnswer.shape.items.element.shape).sort())
})

test('the table of errors has every problem with its status, and no other', async (t) => {
  const rows = [...page('src/plugins/README.md').matchAll(/^\| `([a-z-]+)` \| (\d{3}) \|/gm)].map(
    ([, slug, status]) => `${slug} ${status}`
  )
  t.same(
    rows.sort(),
    Object.entries(PROBLEMS)
      .map(([slug, { status }]) => `${slug} ${status}`)
      .sort()
  )
})

test('the table of health rules has every rule with its severity, and no other', async (t) => {
  const warnings = storeWarnings()
  const rows = [
    ...page('src/monitoring/README.md').matchAll(/^\| `([a-z-]+)` \| (critical|warning|info) \|/gm)
  ].map(([, code, severity]) => ({ code: code!, severity }))
  for (const { code, severity } of RULES)
    t.ok(
      rows.some((row) => row.code === code && row.severity === severity),
      `${code} ${severity}`
    )
  const known = new Set([...RULES.map(({ code }) => code), ...warnings])
  for (const { code } of rows) t.ok(known.has(code), `${code} exists`)
})

/** Codes of warnings in the source of the stores. */
function storeWarnings(): string[] {
  const files = readdirSync('src/stores', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts')
  )
  return files.flatMap((file) =>
    [
      ...readFileSync(path.join('src/stores', file), 'utf8').matchAll(
        /\bcode: '([a-z]+(?:-[a-z]+)+)'/g
      )
    ].map(([, code]) => code!)
  )
}

test('every warning of a store is explained', async (t) => {
  const codes = storeWarnings()
  t.ok(codes.length >= 4)
  for (const code of codes)
    t.match(page('src/monitoring/README.md'), new RegExp(`^\\| \`${code}\` \\| `, 'm'), code)
})

const anchorsOf = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map((match) =>
      match[1]!
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-')
    )
  )

test('every link of the pages leads somewhere', async (t) => {
  for (const [file, text] of PAGES) {
    for (const [, link = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith('https:')) continue
      const [target = '', anchor] = link.split('#')
      const to = target === '' ? file : path.join(path.dirname(file), target)
      t.ok(existsSync(to), `${file}: ${link}`)
      if (anchor !== undefined)
        t.ok(anchorsOf(readFileSync(to, 'utf8')).has(anchor), `${file}: ${link}`)
    }
  }
})

test('every file that the pages name exists', async (t) => {
  const names = new Set(
    ['src', 'test'].flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => path.basename(name))
    )
  )
  for (const [file, text] of PAGES) {
    for (const [, name = ''] of text.matchAll(/`((?:src|test|docker)\/[\w./-]+)`/g))
      t.ok(existsSync(name) || name === 'docker/secrets', `${file}: ${name}`)
    for (const [, name = ''] of text.matchAll(/`([\w-]+\.(?:ts|lua))`/g))
      t.ok(names.has(name), `${file}: ${name}`)
  }
})

test('every page of a folder is linked from README.md', async (t) => {
  for (const file of PAGES.keys()) {
    if (file !== 'README.md' && file.endsWith('README.md'))
      t.ok(page('README.md').includes(`](${file})`), file)
  }
})

test('README.md is short', async (t) => {
  t.ok(page('README.md').split('\n').length <= 220)
  t.match(page('README.md'), 'npm ci && npm start')
  t.match(page('README.md'), 'npm ci && npm test')
})

test('every example is JSON, and every frame has one', async (t) => {
  const examples = [...PAGES.values()].flatMap((text) => [
    ...blocksOf(text, 'json'),
    ...blocksOf(text, 'text').flatMap((block) =>
      block
        .split('\n')
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice(6))
    )
  ])
  t.ok(examples.length >= 10)
  for (const json of examples) t.doesNotThrow(() => JSON.parse(json), json)
  for (const name of ['ready', 'notification', 'state', 'reset', 'heartbeat', 'goodbye'])
    t.ok(page('src/delivery/README.md').includes(`\nevent: ${name}\n`), `a real ${name}`)
})
