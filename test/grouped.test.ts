import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'

const FILES = readdirSync('test', { recursive: true, encoding: 'utf8' }).map((file) =>
  path.posix.join('test', file)
)

/** Whether a path matches a pattern of `.taprc`; `*` and `**` are the only wildcards there. */
const matches = (pattern: string, file: string): boolean =>
  new RegExp(
    `^${pattern
      .replaceAll('.', '\\.')
      .split('**/')
      .map((part) => part.replaceAll('*', '[^/]*'))
      .join('(?:.+/)?')}$`
  ).test(file)

test('every test file runs once: in a process of its own or in that of its group', async (t) => {
  const { exclude } = parse(readFileSync('.taprc', 'utf8')) as { exclude: string[] }
  const grouped = FILES.filter((file) => /\/all(?:-\w+)?\.ts$/.test(file)).flatMap((group) =>
    [...readFileSync(group, 'utf8').matchAll(/^import '(.+)'$/gm)].map(([, file = '']) =>
      path.posix.join(path.dirname(group), file)
    )
  )
  t.equal(new Set(grouped).size, grouped.length, 'no file is in two groups')
  t.same(
    FILES.filter(
      (file) => file.endsWith('.test.ts') && exclude.some((pattern) => matches(pattern, file))
    ).sort(),
    grouped.sort(),
    'exactly the files that .taprc excludes are in a group'
  )
})
