import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { FIGURES } from '../../src/monitoring/figures.ts'

const PAGE = readFileSync('src/monitoring/README.md', 'utf8')
/** Names in backticks, as `group.member` or after the group as `member`. */
const documented = new Set([...PAGE.matchAll(/`([\w.]+)`/g)].map(([, name]) => name))

test('every figure has its own path in /monitor, and the page describes it', async (t) => {
  const paths = FIGURES.flatMap(({ path }) => path ?? [])
  t.equal(new Set(paths).size, paths.length, 'no path is used twice')
  for (const path of paths) {
    const [group, member] = path.split('.')
    t.ok(documented.has(path) || documented.has(member ?? group), path)
  }
})

test('every metric has its own name, and the page lists it', async (t) => {
  const metrics = FIGURES.flatMap(({ metric }) => metric ?? [])
  t.equal(new Set(metrics.map(({ name }) => name)).size, metrics.length, 'no name is used twice')
  for (const { name, type, help } of metrics) {
    t.match(help, /\.$/, `${name} has a sentence of help`)
    if (!name.startsWith('bellwire_')) continue
    t.ok(documented.has(name), name)
    t.equal(name.endsWith('_total'), type === 'counter', `${name} is named after its type`)
  }
})
