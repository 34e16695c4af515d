import { LOOP_TURN_MS } from './limits.ts'

/**
 * Turns of the event loop for long work. Every piece of long work of this process waits here for its next turn, and each turn of the
 * loop has one piece: however many long requests there are, everybody else waits for one piece at most.
 */
class Turns {
  readonly #waiting: (() => void)[] = []

  /** Resolves in a later turn of the loop, after what the sockets brought meanwhile. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(this.#give)
    })
  }

  readonly #give = (): void => {
    this.#waiting.shift()?.()
    if (this.#waiting.length > 0) setImmediate(this.#give)
  }
}

const turns = new Turns()

/** Resolves in the next turn of the event loop that long work has. */
export const nextTurn = (): Promise<void> => turns.next()

/** Measures how long one run of work has had the loop. */
export class Pace {
  #until = performance.now() + LOOP_TURN_MS

  /** True when others should have a turn: then await {@link pause}. */
  get over(): boolean {
    return performance.now() >= this.#until
  }

  async pause(): Promise<void> {
    await turns.next()
    this.#until = performance.now() + LOOP_TURN_MS
  }
}

/** Calls `work` for each of the list, in order, with turns of the event loop for others in between. Rejects with what it throws. */
export async function inTurns<T>(
  list: Iterable<T>,
  work: (one: T, index: number) => void
): Promise<void> {
  const pace = new Pace()
  let index = 0
  for (const one of list) {
    work(one, index++)
    if (pace.over) await pace.pause()
  }
}
