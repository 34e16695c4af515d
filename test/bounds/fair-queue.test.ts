import t from 'tap'
import { FairQueue, sliced } from '../../src/bounds/fair-queue.ts'

const LIMIT = { entries: 10, bytes: 1000 }
const slice = (name: string, entries = 1, bytes = 1) => ({ name, entries, bytes })
const round = (queue: FairQueue<ReturnType<typeof slice>>) => queue.take().map(({ name }) => name)

t.test(
  'a short request waits for at most one slice of a long one, and short requests never starve a long one',
  async (t) => {
    const queue = new FairQueue<ReturnType<typeof slice>>(LIMIT)
    queue.push(['a1', 'a2', 'a3', 'a4'].map((name) => slice(name, 10)))
    queue.push(['b1', 'b2'].map((name) => slice(name, 10)))
    const rounds: string[][] = []
    for (let n = 0; n < 6; n++) {
      queue.push([slice(`short${n}`)])
      rounds.push(round(queue), round(queue))
    }
    t.strictSame(
      rounds.flat(),
      'short0 a1 short1 b1 short2 a2 short3 b2 short4 a3 short5 a4'.split(' ')
    )
    t.strictSame([queue.size, queue.bytes], [0, 0])
  }
)

t.test(
  'short requests keep their order and share a round, up to its limits of entries and bytes',
  async (t) => {
    const queue = new FairQueue<ReturnType<typeof slice>>(LIMIT)
    for (const name of 'abcdefghi')
      queue.push([slice(name, 2, name === 'g' ? 250 : name === 'h' ? 240 : 200)])
    queue.push([slice('x', 99), slice('y')])
    t.equal(queue.bytes, 1892)
    t.strictSame(
      [round(queue), round(queue), round(queue), round(queue)],
      [['a', 'b', 'c', 'd', 'e'], ['x'], ['f', 'g', 'h', 'i'], ['y']]
    )
    queue.push([slice('f'), slice('g')])
    queue.push([slice('h')])
    t.strictSame(round(queue), ['h'])
    t.strictSame(
      queue.clear().map(({ name }) => name),
      ['f', 'g']
    )
    t.strictSame([queue.size, queue.bytes, round(queue)], [0, 0, []])
  }
)

t.test(
  'a short request waits for at most one of many long requests, even if each of them is a single slice',
  async (t) => {
    const queue = new FairQueue<ReturnType<typeof slice>>(LIMIT)
    for (let n = 0; n < 40; n++) queue.push([slice(`recall${n}`, 10)])
    round(queue)
    queue.push([slice('short')])
    t.strictSame([round(queue), round(queue), round(queue)], [['short'], ['recall1'], ['recall2']])
  }
)

t.test('an item is never split: an item above the limit becomes a slice of its own', async (t) => {
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
