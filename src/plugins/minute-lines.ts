import { MAX_LINE_KINDS } from '../core/limits.ts'

/** What a line tells beside its count: of the latest occurrence, whose request id leads to the rest. */
export type LineFields = Readonly<Record<string, unknown>>

/**
 * Lines about what may happen thousands of times a second: the first of a kind is written at once, those behind it together when its
 * minute is over. So nothing is kept quiet, and nothing floods the log.
 */
export class MinuteLines {
  readonly #write: (kind: string, count: number, fields: LineFields) => void
  readonly #everyMs: number
  readonly #kinds = new Map<string, { until: number; count: number; fields: LineFields }>()

  constructor(everyMs: number, write: (kind: string, count: number, fields: LineFields) => void) {
    this.#everyMs = everyMs
    this.#write = write
  }

  /** It happened, `count` times. `kind` comes from a fixed set. */
  add(kind: string, count: number, fields: LineFields, now = performance.now()): void {
    const known = this.#kinds.get(kind)
    if (known) {
      known.count += count
      known.fields = fields
      return
    }
    // A set that is not fixed after all must not fill the memory; its lines are told one by one.
    if (this.#kinds.size < MAX_LINE_KINDS) this.#kinds.set(kind, { until: now + this.#everyMs, count: 0, fields })
    this.#write(kind, count, fields)
  }

  /** Once a second or so: writes what is due. `all` writes the rest too, for the end of the process. */
  flush(now = performance.now(), all = false): void {
    for (const [kind, line] of this.#kinds) {
      if (line.until > now && !all) continue
      if (line.count === 0 || all) this.#kinds.delete(kind)
      if (line.count === 0) continue
      this.#write(kind, line.count, line.fields)
      line.count = 0
      line.until = now + this.#everyMs
    }
  }
}
