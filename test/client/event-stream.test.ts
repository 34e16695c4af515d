import fc from 'fast-check'
import { test } from 'tap'
import { readEventStream, type StreamEvent } from '../../src/client/event-stream.ts'

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

/** The events that these pieces yield. */
async function read(
  pieces: readonly (string | Uint8Array<ArrayBuffer>)[]
): Promise<{ events: StreamEvent[]; retries: number[] }> {
  const events: StreamEvent[] = []
  const retries: number[] = []
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const piece of pieces)
        controller.enqueue(typeof piece === 'string' ? bytes(piece) : piece)
      controller.close()
    }
  })
  await readEventStream(
    body,
    (event) => events.push(event),
    (ms) => retries.push(ms)
  )
  return { events, retries }
}

const message = (data: string, id = '', event = 'message'): StreamEvent => ({ event, data, id })

// After the public contract tests for event-stream clients: the pieces sent, and the events
// expected.
const CASES: readonly {
  name: string
  pieces: readonly string[]
  events: readonly StreamEvent[]
  retries?: readonly number[]
}[] = [
  { name: 'one line in one piece', pieces: ['data: Hello\n\n'], events: [message('Hello')] },
  { name: 'one line in two pieces', pieces: ['data: Hel', 'lo\n\n'], events: [message('Hello')] },
  {
    name: 'a field name in two pieces',
    pieces: ['da', 'ta: Hello\n\n'],
    events: [message('Hello')]
  },
  {
    name: 'two lines of data',
    pieces: ['data: Hello\ndata: again\n\n'],
    events: [message('Hello\nagain')]
  },
  {
    name: 'two lines in two pieces',
    pieces: ['data: Hello\n', 'data: again\n\n'],
    events: [message('Hello\nagain')]
  },
  {
    name: 'two events in one piece',
    pieces: ['data: a\n\ndata: b\n\n'],
    events: [message('a'), message('b')]
  },
  { name: 'lines that end in CR', pieces: ['data: a\rdata: b\r\r:'], events: [message('a\nb')] },
  {
    name: 'lines that end in CR LF',
    pieces: ['data: a\r\ndata: b\r\n\r\n'],
    events: [message('a\nb')]
  },
  {
    name: 'lines that end in this and that',
    pieces: ['data: a\r\ndata: b\rdata: c\n\r\n'],
    events: [message('a\nb\nc')]
  },
  {
    name: 'a piece that ends between CR and LF',
    pieces: ['data: a\r', '\ndata: b\r\n\r', '\n'],
    events: [message('a\nb')]
  },
  {
    name: 'CR at the end of a piece, and no LF',
    pieces: ['data: a\r', 'data: b\r', '\r', ':'],
    events: [message('a\nb')]
  },
  {
    name: 'an empty piece',
    pieces: ['data: a\r', '', '\ndata: b\n', '', '\n'],
    events: [message('a\nb')]
  },
  {
    name: 'no space, one space, two spaces',
    pieces: ['data:a\ndata: a\ndata:  a\n\n'],
    events: [message('a\na\n a')]
  },
  { name: 'data without a colon', pieces: ['data\n\n'], events: [message('')] },
  { name: 'data without a colon, twice', pieces: ['data\ndata\n\n'], events: [message('\n')] },
  { name: 'data with nothing behind the colon', pieces: ['data:\n\n'], events: [message('')] },
  { name: 'a colon in the value', pieces: ['data: a: b:c\n\n'], events: [message('a: b:c')] },
  {
    name: 'an event name',
    pieces: ['event: greeting\ndata: Hello\n\n'],
    events: [message('Hello', '', 'greeting')]
  },
  {
    name: 'an event name is for one event',
    pieces: ['event: x\ndata: a\n\ndata: b\n\n'],
    events: [message('a', '', 'x'), message('b')]
  },
  { name: 'an empty event name', pieces: ['event:\ndata: a\n\n'], events: [message('a')] },
  {
    name: 'a name without data is no event',
    pieces: ['event: x\n\ndata: a\n\n'],
    events: [message('a')]
  },
  {
    name: 'fields in any order',
    pieces: ['id: 1\ndata: a\nevent: x\n\n'],
    events: [message('a', '1', 'x')]
  },
  {
    name: 'an id stays',
    pieces: ['id: 1\ndata: a\n\ndata: b\n\n'],
    events: [message('a', '1'), message('b', '1')]
  },
  {
    name: 'an id without data moves on',
    pieces: ['id: 1\n\ndata: b\n\n'],
    events: [message('b', '1')]
  },
  {
    name: 'an empty id clears it',
    pieces: ['id: 1\ndata: a\n\nid\ndata: b\n\n'],
    events: [message('a', '1'), message('b')]
  },
  {
    name: 'an id with NUL is none',
    pieces: ['id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n'],
    events: [message('a', '1'), message('b', '1')]
  },
  { name: 'comments', pieces: [': hello\ndata: a\n:\n:data: no\n\n'], events: [message('a')] },
  { name: 'a comment alone', pieces: [': hello\n\n', 'data: a\n\n'], events: [message('a')] },
  {
    name: 'fields that nobody knows',
    pieces: ['color: red\ndata: a\nDATA: b\n data: c\n\n'],
    events: [message('a')]
  },
  {
    name: 'retry',
    pieces: ['retry: 1500\n\nretry: x\nretry: 1.5\nretry: -1\nretry:\ndata: a\n\n'],
    events: [message('a')],
    retries: [1500]
  },
  {
    name: 'an event that was cut',
    pieces: ['data: a\n\ndata: b\nid: 2\n'],
    events: [message('a')]
  },
  {
    name: 'a byte order mark',
    pieces: ['\ufeffdata: a\n\n\ufeffdata: b\n\n'],
    events: [message('a')]
  },
  {
    name: 'separators that are no line ends',
    pieces: ['data: a\u2028b\u2029c\u0085d\u000be\n\n'],
    events: [message('a\u2028b\u2029c\u0085d\u000be')]
  }
]

for (const { name, pieces, events, retries = [] } of CASES) {
  test(`an event stream: ${name}`, async (t) => {
    t.same(await read(pieces), { events, retries })
  })
}

const EVERYTHING =
  '\ufeffretry: 10\r\n: \u00e9\rid: 1\nevent: x\r\ndata: \ud83d\udc69\u200d\ud83d\ude80 日本\rdata\r\ndata:  b\n\r\n\nid: 2\rdata: c\r\rdata: d\n\nid: 3\ndata: cut'

test('an event stream may be split anywhere, even within a character', async (t) => {
  const whole = await read([EVERYTHING])
  t.equal(whole.events.length, 3)
  const all = bytes(EVERYTHING)
  for (let at = 0; at <= all.length; at++) {
    const pieces = [all.slice(0, at), all.slice(at)]
    const inTwo = await read(pieces)
    if (JSON.stringify(inTwo) !== JSON.stringify(whole)) t.same(inTwo, whole, `cut at ${at}`)
  }
  t.same(await read([...all].map((byte) => Uint8Array.of(byte))), whole, 'byte by byte')
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.constantFrom(
          '\r',
          '\n',
          '\r\n',
          'data',
          ':',
          ' ',
          'id',
          'event',
          'retry',
          '7',
          'é',
          '\0'
        ),
        { maxLength: 40 }
      ),
      fc.array(fc.nat({ max: 60 }), { maxLength: 5 }),
      async (tokens, cuts) => {
        const stream = bytes(tokens.join(''))
        const ends = [
          ...new Set([0, ...cuts.filter((cut) => cut < stream.length), stream.length])
        ].sort((a, b) => a - b)
        const cut = await read(ends.slice(1).map((end, n) => stream.slice(ends[n], end)))
        return JSON.stringify(cut) === JSON.stringify(await read([stream]))
      }
    ),
    { numRuns: 200 }
  )
})
