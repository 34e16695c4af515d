import { SETTINGS } from '../config/config.ts'
import { VERSION } from './installed-package.ts'
import { USAGE } from './usage.ts'

const table = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, text]) => `  ${name.padEnd(width)}${text}\n`).join('')
}

/** `bellwire --help`: every command and every setting. */
export function help(): void {
  process.stdout.write(`bellwire ${VERSION}: durable notifications for browsers

Usage
${table(Object.values(USAGE).map(([usage, summary]) => [`bellwire ${usage}`, summary]))}
Settings (environment; a secret X may come from the file named by X_FILE)
${table(SETTINGS.map((one) => [one.name, one.description + (one.default ? ` [${one.default}]` : '')]))}`)
}

/** `bellwire --version`. */
export function version(): void {
  process.stdout.write(`${VERSION}\n`)
}
