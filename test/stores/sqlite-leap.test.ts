import fc from 'fast-check'
import t from 'tap'
import { MIN_LEAP } from '../../src/bounds/limits.ts'
import { leapFrom } from '../../src/stores/sqlite/leap.ts'

const NOW = Date.UTC(2026, 10, 28)
const HOUR_MS = 3_600_000

t.test(
  'what is given after a start never meets what an undone life gave, whatever the clock says',
  async (t) => {
    fc.assert(
      fc.property(
        fc.record({
          // Hours between the starts: back as well as on, and not at all.
          hours: fc.integer({ min: -100_000, max: 100_000 }),
          snapshot: fc.integer({ min: 0, max: 1_000_000 }),
          undone: fc.integer({ min: 1, max: 1_000_000 })
        }),
        ({ hours, snapshot, undone }) => {
          // A life from which a snapshot is taken, which then goes on, and one that begins from the snapshot.
          const head = leapFrom(0, NOW) + snapshot
          // A life takes two seconds to be put back, and a second for each hundred thousand events.
          const livedMs = 2000 + undone / 100
          const first = leapFrom(head, NOW + hours * HOUR_MS + livedMs) + 1
          if (first <= head + undone) throw new Error(`${first} may have been given before`)
          if (first - head < MIN_LEAP && hours < 0) throw new Error('too small a leap')
          if (!Number.isSafeInteger(first + 1_000_000)) throw new Error(`${first} is too large`)
        }
      ),
      { numRuns: 1000 }
    )
    t.pass('a thousand restored lives meet none before them')
  }
)

t.test('lives that go on from one snapshot at one moment do not meet', async (t) => {
  for (const head of [0, leapFrom(0, NOW + HOUR_MS)]) {
    const starts = new Set(Array.from({ length: 20 }, () => leapFrom(head, NOW)))
    t.ok(starts.size >= 19, `${starts.size} of 20 differ`)
  }
})

t.test('places last as long as the service may run', async (t) => {
  t.ok(
    Number.isSafeInteger(leapFrom(0, Date.UTC(2250, 0, 1)) + 1e9),
    'with a clock that goes right'
  )
  let head = Date.UTC(2100, 0, 1) * 1000
  for (let start = 0; start < 100_000; start++) head = leapFrom(head, NOW)
  t.ok(head < 2 ** 52, 'and through a hundred thousand starts with one that is behind')
})
