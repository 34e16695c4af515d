import type { Test } from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.ts'

/** The fewest settings that production starts with. */
export const PRODUCTION = {
  NODE_ENV: 'production',
  PUBLISH_KEYS: 'app:a-publish-key-0123',
  MONITOR_KEYS: 'ops:a-monitor-key-0123',
  AUTH_JWT_SECRET: 'a-secret-of-thirty-two-bytes-or-more'
}

/** The lines of the ConfigError that these settings cause; none if they are fine. */
export function faultsOf(
  env: Record<string, string>,
  flags: Parameters<typeof loadConfig>[1] = {}
): readonly string[] {
  try {
    loadConfig(env, flags)
  } catch (error) {
    if (error instanceof ConfigError) return error.lines
    throw error
  }
  return []
}

/** Asserts that these settings have exactly one fault. */
export function oneFault(t: Test, env: Record<string, string>, expected: RegExp): void {
  const faults = faultsOf(env)
  t.equal(faults.length, 1, `one fault: ${faults.join(' | ')}`)
  t.match(faults[0] ?? '', expected)
}
