import { BoundedCache } from './bounded-cache.ts'

interface Window {
  count: number
  /** Monotonic milliseconds. */
  readonly endsAt: number
}

/**
 * Counts what each caller does within a fixed window of time. When space runs out, it forgets the
 * caller unseen for longest.
 */
export class WindowCounts {
  readonly #windows = new BoundedCache<Window>('rates', { sizeOf: () => 32 })

  /**
   * Adds one. Returns the caller's count in this window, and the milliseconds until the window
   * ends.
   */
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

  /** The caller's count in this window. */
  current(caller: string): number {
    const window = this.#windows.get(caller)
    return window && window.endsAt > performance.now() ? window.count : 0
  }
}
