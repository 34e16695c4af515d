/** Publishes of the last minute that were refused because of their producer. */
export interface Rejections {
  /** Name of the publish key with the most of them. */
  readonly producer: string
  /** Slug of this producer's most frequent problem. */
  readonly problem: string
  readonly refused: number
  /** All publishes, refused or not. */
  readonly asked: number
}

const SECONDS = 60
/** The key under which accepted publishes are counted. */
const TAKEN = ''

interface Asked {
  asked: number
  refused: number
  readonly problems: Map<string, number>
}

/** The level of the rule `rejected-publishes`: 1 at 5 %, if that is at least ten a minute. */
export const rejectionLevel = ({
  refused,
  asked
}: Pick<Rejections, 'refused' | 'asked'>): number =>
  asked === 0 ? 0 : Math.min(refused / 10, refused / asked / 0.05)

/** What each producer sent in the last minute. Bounded by the number of keys and of problems. */
export class ProducerMinute {
  readonly #seconds: Map<string, number>[] = [new Map()]

  /** Notifications that were accepted, now or before. */
  taken(producer: string, count: number): void {
    this.#count(producer, TAKEN, count)
  }

  /** Notifications that were refused; `problem` is a slug. */
  refused(producer: string, problem: string, count: number): void {
    this.#count(producer, problem, count)
  }

  /** Call every second. */
  tick(): void {
    this.#seconds.push(new Map())
    if (this.#seconds.length > SECONDS) this.#seconds.shift()
  }

  /** One producer's rejections or those of all, whichever is worse; null: nothing was refused. */
  worst(): Rejections | null {
    const producers = new Map<string, Asked>()
    for (const second of this.#seconds) {
      for (const [key, count] of second) {
        const [producer = '', problem = ''] = key.split('\n')
        const known = producers.get(producer) ?? {
          asked: 0,
          refused: 0,
          problems: new Map<string, number>()
        }
        producers.set(producer, known)
        known.asked += count
        if (problem === TAKEN) continue
        known.refused += count
        known.problems.set(problem, (known.problems.get(problem) ?? 0) + count)
      }
    }
    const most = largest([...producers], ([, { refused }]) => refused)
    if (!most || most[1].refused === 0) return null
    const all = [...producers.values()]
    const sum = (of: (one: Asked) => number): number =>
      all.reduce((total, one) => total + of(one), 0)
    const together = {
      ...rejectionsOf(most),
      refused: sum(({ refused }) => refused),
      asked: sum(({ asked }) => asked)
    }
    const each = [...producers].filter(([, { refused }]) => refused > 0).map(rejectionsOf)
    return largest([...each, together], rejectionLevel) ?? null
  }

  #count(producer: string, outcome: string, count: number): void {
    const second = this.#seconds.at(-1)!
    const key = `${producer}\n${outcome}`
    second.set(key, (second.get(key) ?? 0) + count)
  }
}

function rejectionsOf([producer, { asked, refused, problems }]: [string, Asked]): Rejections {
  return {
    producer,
    problem: largest([...problems], ([, count]) => count)?.[0] ?? '',
    refused,
    asked
  }
}

function largest<T>(list: readonly T[], by: (one: T) => number): T | undefined {
  return list.reduce<T | undefined>(
    (best, one) => (best === undefined || by(one) > by(best) ? one : best),
    undefined
  )
}
