import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { groupedTests } from './fixtures/import-tests.ts'

test('every test file without a process of its own is in one group', async (t) => {
  const folders = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((file) => path.basename(file) === 'all.ts')
    .flatMap((file) => [
      ...readFileSync(path.join('test', file), 'utf8').matchAll(/'(test[^']*)'/g)
    ])
    .map(([, folder]) => folder)
  t.equal(new Set(folders).size, folders.length, 'no folder is in two groups')
  t.same(new Set(groupedTests().map((file) => path.posix.dirname(file))), new Set(folders))
})
