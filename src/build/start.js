import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { isFresh, ROOT } from './stamp.js'

/**
 * Builds, and ends with the build if that fails. A signal ends the build's processes with this one.
 */
async function build() {
  if (!existsSync(path.join(ROOT, 'node_modules/typescript'))) {
    process.stderr.write(
      'bellwire: dist is missing or older than src, and a build needs the development packages: run `npm ci && npm run build`, then `npm start`\n'
    )
    process.exit(1)
  }
  const child = spawn('npm', ['run', 'build', '--silent'], {
    cwd: ROOT,
    stdio: 'inherit',
    detached: true
  })
  const stop = (signal) => {
    process.kill(-child.pid, signal)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  }
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP']
  for (const signal of signals) process.once(signal, stop)
  const code = await new Promise((resolve, reject) =>
    child.once('error', reject).once('exit', resolve)
  )
  if (code !== 0) process.exit(code ?? 1)
  for (const signal of signals) process.removeListener(signal, stop)
}

if (!isFresh()) await build()
// In this very process, so that the signals of a supervisor reach the service.
await import('../../dist/main.js')
