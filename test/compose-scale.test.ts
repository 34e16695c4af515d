import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { SETTINGS } from '../src/config/config.ts'

interface Service {
  readonly environment?: Record<string, string>
  readonly secrets?: readonly string[]
  readonly volumes?: readonly string[]
  readonly healthcheck: { readonly test: readonly string[] }
  readonly stop_grace_period?: string
  readonly command?: readonly string[]
  readonly depends_on?: Record<string, unknown>
}

test('the services of compose.scale.yaml fit together', async (t) => {
  const compose = parse(readFileSync('docker/compose.scale.yaml', 'utf8'), { merge: true }) as {
    services: Record<string, Service>
    secrets: Record<string, { file: string }>
    volumes: Record<string, unknown>
  }
  const { services, secrets, volumes } = compose
  const nodes = Object.keys(services).filter((name) => name.startsWith('bellwire'))
  t.same(nodes, ['bellwire-1', 'bellwire-2', 'bellwire-3'])
  const nginx = readFileSync('docker/nginx.scale.conf', 'utf8')
  t.same(
    [...nginx.matchAll(/server (bellwire-\d):3000/g)].map(([, name]) => name),
    nodes,
    'nginx knows every node'
  )
  const made = readFileSync('docker/make-secrets.sh', 'utf8')
  for (const [name, { file }] of Object.entries(secrets)) {
    t.equal(file, `./secrets/${name}`)
    t.match(made, name, `make-secrets.sh makes ${name}`)
  }
  const settings = new Set(
    SETTINGS.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))
  )
  for (const [name, service] of Object.entries(services)) {
    t.ok(service.healthcheck.test.length > 0, `${name} has a health check`)
    for (const secret of service.secrets ?? []) t.ok(secrets[secret], `${name}: secret ${secret}`)
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':')
      t.ok(
        source.startsWith('.') ? existsSync(path.join('docker', source)) : source in volumes,
        `${name}: ${source}`
      )
    }
    for (const [setting, value] of Object.entries(service.environment ?? {})) {
      t.ok(settings.has(setting), `${name}: ${setting} is a setting`)
      const secret = /^\/run\/secrets\/(.+)$/.exec(value)?.[1]
      if (secret) t.ok(service.secrets?.includes(secret), `${name}: ${value}`)
    }
  }
  for (const [, secret] of nginx.matchAll(/\/run\/secrets\/([\w.]+)/g))
    t.ok(services['nginx']!.secrets!.includes(secret!))
  const first = services['bellwire-1']!
  t.equal(first.environment!['REDIS_URL'], 'redis://redis:6379')
  t.ok(
    Number.parseInt(first.stop_grace_period!, 10) * 1000 >
      Number(first.environment!['DRAIN_MS']) + 5000
  )
  const redis = services['redis']!.command!.join(' ')
  t.match(redis, /--appendonly yes/)
  t.match(redis, /--maxmemory-policy noeviction/)
})
