import { LOOP_TURN_MS } from './limits.ts'

/**
 * Turns of the event loop for long work. All long work of this process waits here, and each turn of
 * the loop runs one piece of it. So short requests wait for at most one piece, however many long
 * requests there are.
 */
class Turns {
  readonly #waiting: (() => void)[] = []

  /** Resolves in a later turn of the loop, after sockets were read. */
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

/** Resolves in the next turn of the event loop that is free for long work. */
export const nextTurn = (): Promise<void> => turns.next()

/** Measures how long a piece of work has held the event loop. */
export class Pace {
  #until = performance.now() + LOOP_TURN_MS

  /** Whether others should have a turn: if so, await {@link pause}. */
  get over(): boolean {
    return performance.now() >= this.#until
  }

  /** Gives others a turn. */
  async pause(): Promise<void> {
    await turns.next()
    this.#until = performance.now() + LOOP_TURN_MS
  }
}

/**
 * Calls `work` for each item in order and gives others turns of the event loop in between. Rejects
 * with whatever `work` throws.
 */
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
