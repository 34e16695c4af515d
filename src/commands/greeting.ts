import { signDevToken } from '../auth/jwt.ts'
import { isPublic } from '../config/config.ts'
import { VERSION } from './installed-package.ts'
import type { Settings } from './settings.ts'

const DAY_SECONDS = 86_400

/**
 * What `serve` prints in development: commands to paste. Whoever keeps the log keeps this text, so
 * it shows development keys only and refers to the operator's own keys by name.
 */
export function greeting({ config, file }: Settings, address: string): string {
  const base = `${address}${config.basePath}`
  const [secret] = config.auth.jwtSecrets
  const publishKey = config.publishKeys[0]?.key
  const monitorKey = config.monitorKeys[0]?.key
  const authorization = isPublic(publishKey)
    ? `'Authorization: Bearer ${publishKey}'`
    : '"Authorization: Bearer $PUBLISH_KEY"'
  return `
  Bellwire ${VERSION} listens on ${base}
  Settings: the environment${file === undefined ? '' : `, then ${file}`}
${developmentWarning(config)}
  Subscribe (${secret ? 'as alice' : 'with the cookie of your application in $COOKIE'}, in one terminal):
    curl -N ${subscriberCredential(config)} ${base}/v1/stream

  Publish (in another${isPublic(publishKey) ? '' : ', with one of your PUBLISH_KEYS in $PUBLISH_KEY'}):
    curl -X POST ${base}/v1/notifications -H ${authorization} -H 'Content-Type: application/json' -d '{"to":{"user":"alice"},"type":"hello","title":"Hello, Alice"}'

  Dashboard:     ${base}/monitor (any user name, password ${isPublic(monitorKey) ? monitorKey : 'one of MONITOR_KEYS'})
${config.demo ? `  Demo page:     ${base}/demo\n` : ''}  Documentation: ${base}/documentation

`
}

function subscriberCredential({ auth }: Settings['config']): string {
  const [secret] = auth.jwtSecrets
  // Without a secret only the application can issue credentials.
  if (!secret) return '-H "Cookie: $COOKIE"'
  return isPublic(secret)
    ? `-H 'Authorization: Bearer ${signDevToken('alice', ['news'], secret, DAY_SECONDS, auth)}'`
    : '-H "Authorization: Bearer $(node dist/main.js token alice --topics news)"'
}

function developmentWarning({ keysInUse, warnings }: Settings['config']): string {
  if (keysInUse.development.length === 0) return ''
  const more = warnings.map((line) => `\n  ${line}.`).join('')
  return `\n  DEVELOPMENT KEYS ARE IN USE. Anyone who reaches this port can publish and read; production refuses to start with them.${more}\n`
}
