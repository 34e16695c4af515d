// `npm run build` makes dist: the program and the browser SDK. `npm run build client` makes the SDK.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as esbuild from 'esbuild'
import { minify } from 'terser'
import { ROOT, stamped } from './stamp.js'

const at = (file) => path.join(ROOT, file)
const TSC = at('node_modules/typescript/bin/tsc')

/** Compiles a project of TypeScript. Types are checked by `npm run lint`, not here. */
async function compile(project) {
  const [code] = await once(
    spawn(process.execPath, [TSC, '-p', at(project), '--noCheck'], { stdio: 'inherit' }),
    'exit'
  )
  if (code !== 0) process.exit(code ?? 1)
}

/**
 * `dist/client.js`, the SDK as one script for a page. esbuild alone would leave 3 % more than
 * terser.
 */
async function bundleClient() {
  const outfile = at('dist/client.js')
  await esbuild.build({
    entryPoints: [at('src/client/script.ts')],
    outfile,
    bundle: true,
    format: 'iife',
    target: 'es2022',
    tsconfigRaw: {},
    minifySyntax: true,
    logLevel: 'warning'
  })
  const { code } = await minify(readFileSync(outfile, 'utf8'), {
    // No function of the SDK has a `this` of its own, so each may become an arrow.
    compress: { passes: 3, inline: 1, hoist_funs: true, unsafe_arrows: true },
    mangle: true
  })
  writeFileSync(outfile, code)
}

/** What is no TypeScript and is read when the program runs: pages and the scripts for Redis. */
function copyAssets() {
  for (const part of ['demo', 'dashboard', 'stores/redis', 'cluster/redis']) {
    cpSync(at(`src/${part}`), at(`dist/${part}`), {
      recursive: true,
      filter: (file) => !file.endsWith('.ts')
    })
  }
}

const client = () => Promise.all([compile('src/client'), bundleClient()])

if (process.argv[2] === 'client') await client()
else {
  await stamped(async () => {
    // A file that an earlier version had would be served, or run.
    rmSync(at('dist'), { recursive: true, force: true })
    await Promise.all([client(), compile('tsconfig.build.json')])
    copyAssets()
  })
}
