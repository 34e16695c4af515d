import { test } from 'tap'
import { type LineFields, MinuteLines } from '../../src/monitoring/minute-lines.ts'

function lines() {
  const written: [kind: string, count: number, fields: LineFields][] = []
  const kept = new MinuteLines(60_000, (...line) => written.push(line))
  return { kept, written: () => written.splice(0) }
}

test('the first line of a kind is written at once, later ones together after a minute', async (t) => {
  const { kept, written } = lines()
  kept.add('a', 1, { n: 0 }, 0)
  t.strictSame(written(), [['a', 1, { n: 0 }]])
  for (let n = 1; n <= 5000; n++) kept.add('a', 1, { n }, n)
  kept.add('b', 3, {}, 5000)
  t.strictSame(written(), [['b', 3, {}]], 'another kind has a minute of its own')
  kept.flush(59_999)
  t.strictSame(written(), [])
  kept.flush(60_000)
  t.strictSame(written(), [['a', 5000, { n: 5000 }]], 'with the latest')
  kept.add('a', 1, { n: 'later' }, 61_000)
  kept.flush(119_999)
  t.strictSame(written(), [], 'and the next minute begins')
  kept.flush(120_000)
  t.strictSame(written(), [['a', 1, { n: 'later' }]])
  kept.flush(180_000)
  kept.add('a', 1, { n: 'again' }, 180_001)
  t.strictSame(written(), [['a', 1, { n: 'again' }]], 'after a quiet minute it is the first again')
})

test('lines that are not due yet are written when the process ends', async (t) => {
  const { kept, written } = lines()
  for (let n = 0; n < 3; n++) kept.add('a', 1, {}, 0)
  written()
  kept.flush(1, true)
  t.strictSame(written(), [['a', 2, {}]])
  kept.flush(2, true)
  t.strictSame(written(), [])
})

test('endless kinds do not fill the memory, and an evicted kind is written with its count', async (t) => {
  const { kept, written } = lines()
  kept.add('first', 1, {}, 0)
  kept.add('first', 7, {}, 1)
  for (let n = 0; n < 20_000; n++) kept.add(`kind-${n}`, 1, {}, 2)
  const all = written()
  t.equal(all.length, 20_002)
  t.strictSame(
    all.filter(([kind]) => kind === 'first').map(([, count]) => count),
    [1, 7]
  )
})
