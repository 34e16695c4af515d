/** What is measured, and what Bellwire aims at. */

/** An aim: the ratio to the naive server, or the figure itself, is at most this. */
export type Aim = { readonly ratio: number } | { readonly figure: number }

interface RowShape {
  readonly title: string
  readonly unit: '/s' | 'µs' | 'ms' | 'B'
  readonly aim?: Aim
  /** The row of the naive server to compare with, if it has none of its own. */
  readonly against?: string
}

/** Sizes of one run. */
export interface Sizes {
  readonly many: number
  readonly few: number
  readonly batch: number
}

/** The rows of the table, in their order. CPU is that of the server, in all its threads. */
export function rowsOf({ many, few, batch }: Sizes) {
  const all = many.toLocaleString('en')
  const some = few.toLocaleString('en')
  return {
    connectCpu: { title: `CPU to open a stream (${all})`, unit: 'µs', aim: { ratio: 1.6 } },
    connects: { title: 'streams opened, 64 at a time', unit: '/s' },
    bytes: { title: 'memory (PSS) of an idle stream', unit: 'B', aim: { figure: 4900 } },
    userMax: {
      title: `CPU per publish to one of ${all} users, flat out`,
      unit: 'µs',
      aim: { ratio: 1.15 }
    },
    userPaced: { title: 'the same at 2,000/s', unit: 'µs', aim: { ratio: 1.5 } },
    p50: { title: 'publish to page at 2,000/s, p50', unit: 'ms', aim: { figure: 2.5 } },
    p99: { title: 'publish to page at 2,000/s, p99', unit: 'ms', aim: { figure: 10 } },
    batchMax: {
      title: `CPU per notification in batches of ${batch}, flat out (naive: single)`,
      unit: 'µs',
      aim: { ratio: 0.35 },
      against: 'userMax'
    },
    batchPaced: {
      title: 'the same at 2,000/s (naive: single)',
      unit: 'µs',
      aim: { ratio: 0.5 },
      against: 'userPaced'
    },
    publishes: { title: 'publishes with 64 in flight, no stream open', unit: '/s' },
    batches: { title: `notifications in batches of ${batch}, no stream open`, unit: '/s' },
    manyPaced: {
      title: `CPU per frame to a topic of ${all}, 4/s`,
      unit: 'µs',
      aim: { ratio: 0.75 }
    },
    manyMax: { title: 'the same, flat out', unit: 'µs', aim: { ratio: 0.12 } },
    fewPaced: {
      title: `CPU per frame to a topic of ${some}, 30/s`,
      unit: 'µs',
      aim: { ratio: 0.75 }
    },
    fewMax: { title: 'the same, flat out', unit: 'µs', aim: { ratio: 0.12 } },
    burst: { title: 'CPU per frame, a burst to a topic of 100', unit: 'µs' }
  } as const satisfies Record<string, RowShape>
}

/** The name of a row. */
export type Row = keyof ReturnType<typeof rowsOf>
