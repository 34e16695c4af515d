import { test } from 'tap'
import { deployUnderLoad } from './deploy.ts'

test(
  '3,000 streams and 200 publishes a second through a rolling restart, kill -9 of a node, and of Redis',
  { timeout: 600_000 },
  (t) =>
    deployUnderLoad(t, {
      streams: Number(process.env['SOAK_STREAMS'] ?? 3000),
      publishesPerSecond: Number(process.env['SOAK_RATE'] ?? 200),
      drainMs: 5000,
      haste: 1,
      calmMs: 12_000,
      redisAwayMs: 5000,
      shards: Number(process.env['SOAK_SHARDS'] ?? 1)
    })
)
