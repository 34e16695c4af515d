/** Listeners by the name of their event. */
export interface Emitter {
  /** Adds a listener; the function it returns removes it. */
  on(event: string, fn: (event: never) => void): () => void
  emit(event: string, data?: unknown): void
  /** Removes every listener. */
  clear(): void
}

export function createEmitter(): Emitter {
  let listeners: Record<string, Set<(event: never) => void>> = {}
  return {
    on(event, fn) {
      listeners[event] ??= new Set()
      listeners[event].add(fn)
      return () => listeners[event]?.delete(fn)
    },
    emit(event, data) {
      // Each in its own turn: if one throws, it is reported as uncaught and stops nothing here.
      for (const fn of listeners[event] ?? []) queueMicrotask(() => fn(data as never))
    },
    clear() {
      listeners = {}
    }
  }
}
