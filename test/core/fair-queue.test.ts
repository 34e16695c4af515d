import t from 'tap'
import { FairQueue, sliced } from '../../src/core/fair-queue.ts'

const LIMIT = { entries: 10, bytes: 1000 }
const slice = (name: string, entries = 1, bytes = 1) => ({ name, entries, bytes })
const round = (queue: FairQueue<ReturnType<typeof slice>>) => queue.take(LIMIT).map(({ name }) => name)

t.test('a short request waits for one slice of a long one, and the long one moves on however many short ones come', async (t) => {
  const queue = new FairQueue<ReturnType<typeof slice>>()
  queue.push(['a1', 'a2', 'a3', 'a4'].map((name) => slice(name, 10)))
  queue.push(['b1', 'b2'].map((name) => slice(name, 10)))
  const rounds: string[][] = []
  for (let n = 0; n < 6; n++) {
    queue.push([slice(`short${n}`)])
    rounds.push(round(queue), round(queue))
  }
  t.strictSame(rounds.flat(), 'short0 a1 short1 b1 short2 a2 short3 b2 short4 a3 short5 a4'.split(' '))
  t.strictSame([queue.size, queue.bytes], [0, 0])
})

t.test('short requests keep their order and go together, as far as entries and bytes allow', async (t) => {
  const queue = new FairQueue<ReturnType<typeof slice>>()
  for (const one of [slice('a', 6), slice('b', 4), slice('c', 1, 900), slice('d', 1, 200), slice('e', 99)]) queue.push([one])
  t.equal(queue.bytes, 1103)
  t.strictSame([round(queue), round(queue), round(queue), round(queue)], [['a', 'b'], ['c'], ['d'], ['e']])
  queue.push([slice('f'), slice('g')])
  queue.push([slice('h')])
  t.strictSame(round(queue), ['f'])
  t.strictSame(
    queue.clear().map(({ name }) => name),
    ['h', 'g']
  )
  t.strictSame([queue.size, queue.bytes, round(queue)], [0, 0, []])
})

t.test('an item is never cut: one beyond the limit is a slice by itself', async (t) => {
  const cut = sliced([3, 7, 1, 25, 2, 2], (entries) => ({ entries, bytes: 1 }), LIMIT)
  t.strictSame(
    cut.map(({ items, entries }) => [items, entries]),
    [
      [[3, 7], 10],
      [[1], 1],
      [[25], 25],
      [[2, 2], 4]
    ]
  )
})
