import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of package.json. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STAMP = path.join(ROOT, 'dist/.built-from')

/** Files below `src`, sorted, so that one that was deleted or renamed changes the digest, too. */
function sources() {
  return readdirSync(path.join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.md'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()
}

/**
 * A digest of all that a build depends on; undefined without sources, as in an installed package.
 * Of contents, not of times: a checkout, a copy and a cache of a build server set times as they
 * like. The lock file is left out, since `npm prune` may rewrite it.
 */
function inputs() {
  if (!existsSync(path.join(ROOT, 'src/main.ts'))) return undefined
  const hash = createHash('sha256')
  for (const file of [
    ...sources(),
    ...['tsconfig.json', 'tsconfig.build.json'].map((name) => path.join(ROOT, name))
  ]) {
    const content = readFileSync(file)
    hash.update(`${path.relative(ROOT, file)}\0${content.length}\0`).update(content)
  }
  const { devDependencies } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const { typescript, esbuild, terser } = devDependencies
  return hash.update(JSON.stringify([typescript, esbuild, terser])).digest('hex')
}

/** Whether `dist` is what a build of the sources as they are now would make. */
export function isFresh() {
  const wanted = inputs()
  if (wanted === undefined) return existsSync(path.join(ROOT, 'dist/main.js'))
  return existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted
}

/**
 * Runs a build and records what it was made from. The digest is of the sources as they were when
 * the build began, and counts once it ended: a build that was cut short, or whose sources changed
 * meanwhile, leaves nothing that passes for fresh.
 */
export async function stamped(build) {
  const begun = inputs()
  mkdirSync(path.dirname(STAMP), { recursive: true })
  rmSync(STAMP, { force: true })
  await build()
  writeFileSync(STAMP, begun)
}
