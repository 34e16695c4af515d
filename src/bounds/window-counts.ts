import { BoundedCache } from '../bounds/bounded-cache.ts'

interface Window {
  count: number
  /** Monotonic milliseconds. */
  readonly endsAt: number
}

/** How often each caller did something within a fixed window of time. If there is no room, the caller longest unseen is forgotten. */
export class WindowCounts {
  readonly #windows = new BoundedCache<Window>('rates', { sizeOf: () => 32 })

  /** Counts once more. How often that makes in the caller's window, and how many milliseconds it lasts yet. */
  count(caller: string, windowMs: number): { readonly current: number; readonly leftMs: number } {
    const now = performance.now()
    let window = this.#windows.get(caller)
    if (!window || window.endsAt <= now) {
      window = { count: 0, endsAt: now + windowMs }
      this.#windows.set(caller, window)
    }
    window.count++
    return { current: window.count, leftMs: window.endsAt - now }
  }

  /** How often it was in the caller's window so far. */
  current(caller: string): number {
    const window = this.#windows.get(caller)
    return window && window.endsAt > performance.now() ? window.count : 0
  }
}
