import { test } from 'tap'
import { iso } from '../../src/log/iso.ts'

test('timestamps are formatted correctly in any sequence, although the last one is cached', async (t) => {
  const instants = [0, 1, 1, 1_764_000_000_001, 1, -1, 0]
  t.strictSame(
    instants.map(iso),
    instants.map((instant) => new Date(instant).toISOString())
  )
})
