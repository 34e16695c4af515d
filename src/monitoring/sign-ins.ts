import type { SignInObserver, Trouble } from '../auth/sign-in-observer.ts'
import { SIGN_IN_MEMORY_MS } from '../bounds/limits.ts'

/** A key set that cannot be fetched. Milliseconds. */
export interface AwayKeySet {
  readonly trouble: Trouble
  /** Since the last fetch that succeeded, or since the start. */
  readonly awayMs: number
  /** How long its keys stay valid; 0: none is. */
  readonly leftMs: number
}

/** Whether sign-ins work, for the health rules. */
export interface SignInState {
  /** How long every sign-in has failed, milliseconds; 0: they work, or nobody tries. */
  readonly failingMs: number
  /** Why the latest attempt failed. */
  readonly trouble: Trouble | undefined
  readonly keySet: AwayKeySet | undefined
}

/**
 * Remembers whether sign-ins work. Times are monotonic milliseconds, except for the age of a key
 * set, which grows while the machine is suspended.
 */
export class SignIns implements SignInObserver {
  readonly #onTrouble: (trouble: Trouble) => void
  /** By setting; there are two. */
  readonly #failing = new Map<
    string,
    { readonly since: number; lastAt: number; attempts: number; trouble: Trouble }
  >()
  #keySet:
    | { readonly trouble: Trouble; readonly since: number; readonly goodUntil: number }
    | undefined

  /** `onTrouble` is called for each failure, for the log. */
  constructor(onTrouble: (trouble: Trouble) => void) {
    this.#onTrouble = onTrouble
  }

  identified(): void {
    this.#failing.clear()
  }

  failed(trouble: Trouble, now = performance.now()): void {
    const known = this.#failing.get(trouble.setting)
    if (known && now - known.lastAt < SIGN_IN_MEMORY_MS) {
      known.lastAt = now
      known.attempts++
      known.trouble = trouble
    } else this.#failing.set(trouble.setting, { since: now, lastAt: now, attempts: 1, trouble })
    this.#onTrouble(trouble)
  }

  answered(setting: string): void {
    this.#failing.delete(setting)
  }

  keySetAway(trouble: Trouble, fetchedAt: number | undefined, goodUntil: number | undefined): void {
    this.#keySet = {
      trouble,
      since: fetchedAt ?? this.#keySet?.since ?? Date.now(),
      goodUntil: goodUntil ?? 0
    }
    this.#onTrouble(trouble)
  }

  keySetBack(): void {
    this.#keySet = undefined
  }

  /** The state now. */
  look(now = performance.now()): SignInState {
    let failingMs = 0
    let trouble: Trouble | undefined
    for (const { since, lastAt, attempts, trouble: one } of this.#failing.values()) {
      // A single attempt proves nothing, and callers who still try retry within half a minute.
      if (attempts < 2 || now - lastAt > SIGN_IN_MEMORY_MS || now - since <= failingMs) continue
      failingMs = now - since
      trouble = one
    }
    const away = this.#keySet
    const at = Date.now()
    const keySet = away && {
      trouble: away.trouble,
      awayMs: Math.max(0, at - away.since),
      leftMs: Math.max(0, away.goodUntil - at)
    }
    return { failingMs, trouble, keySet }
  }
}
