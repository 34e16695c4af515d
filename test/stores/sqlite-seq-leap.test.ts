import fc from 'fast-check'
import t from 'tap'
import { MIN_LEAP } from '../../src/bounds/limits.ts'
import { leapFrom } from '../../src/stores/sqlite/seq-leap.ts'

const NOW = Date.UTC(2026, 10, 28)
const HOUR_MS = 3_600_000

t.test(
  'after a restore from a snapshot, no seq used since the snapshot is used again, whatever the clock says',
  async (t) => {
    fc.assert(
      fc.property(
        fc.record({
          // Hours between the starts; negative if the clock went back.
          hours: fc.integer({ min: -100_000, max: 100_000 }),
          snapshot: fc.integer({ min: 0, max: 1_000_000 }),
          undone: fc.integer({ min: 1, max: 1_000_000 })
        }),
        ({ hours, snapshot, undone }) => {
          // A process runs on after a snapshot of its data; another starts from the snapshot.
          const head = leapFrom(0, NOW) + snapshot
          // A restore takes at least two seconds, and 100,000 events at least one.
          const ranMs = 2000 + undone / 100
          const first = leapFrom(head, NOW + hours * HOUR_MS + ranMs) + 1
          if (first <= head + undone) throw new Error(`${first} may have been used before`)
          if (first - head < MIN_LEAP && hours < 0) throw new Error('it skips too few seqs')
          if (!Number.isSafeInteger(first + 1_000_000)) throw new Error(`${first} is too large`)
        }
      ),
      { numRuns: 1000 }
    )
    t.pass('a thousand restored databases used no seq again')
  }
)

t.test(
  'databases restored from one snapshot at the same moment start at different seqs',
  async (t) => {
    for (const head of [0, leapFrom(0, NOW + HOUR_MS)]) {
      const starts = new Set(Array.from({ length: 20 }, () => leapFrom(head, NOW)))
      t.ok(starts.size >= 19, `${starts.size} of 20 differ`)
    }
  }
)

t.test('seqs stay safe integers until the year 2250 and through 100,000 starts', async (t) => {
  t.ok(Number.isSafeInteger(leapFrom(0, Date.UTC(2250, 0, 1)) + 1e9), 'with a correct clock')
  let head = Date.UTC(2100, 0, 1) * 1000
  for (let start = 0; start < 100_000; start++) head = leapFrom(head, NOW)
  t.ok(head < 2 ** 52, 'through 100,000 starts with a clock that is behind')
})
