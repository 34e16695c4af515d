import { BoundedCache, textBytes } from '../bounds/bounded-cache.ts'

/** The fields of a line besides its count: those of the latest occurrence. */
export type LineFields = Readonly<Record<string, unknown>>

interface Line {
  until: number
  count: number
  fields: LineFields
  /** Size of `fields` when it was last measured. */
  readonly bytes: number
}

/**
 * Log lines about what may happen thousands of times a second. The first of a kind is written at
 * once, those after it as one line when its minute is over: nothing is hidden, nothing floods the
 * log.
 */
export class MinuteLines {
  readonly #write: (kind: string, count: number, fields: LineFields) => void
  readonly #everyMs: number
  readonly #kinds: BoundedCache<Line>

  constructor(everyMs: number, write: (kind: string, count: number, fields: LineFields) => void) {
    this.#everyMs = everyMs
    this.#write = write
    this.#kinds = new BoundedCache('lines', {
      keep: 'newest',
      sizeOf: ({ bytes }) => bytes,
      // What was counted so far is still written.
      onEvict: ({ count, fields }, kind) => {
        if (count > 0) write(kind, count, fields)
      }
    })
  }

  /**
   * It happened `count` times. If there are too many kinds, the oldest is written and forgotten.
   */
  add(kind: string, count: number, fields: LineFields, now = performance.now()): void {
    const known = this.#kinds.get(kind)
    const bytes = fieldsBytes(fields)
    if (known) {
      known.count += count
      known.fields = fields
      if (bytes > known.bytes) this.#kinds.set(kind, { ...known, bytes })
      return
    }
    this.#kinds.set(kind, { until: now + this.#everyMs, count: 0, fields, bytes })
    this.#write(kind, count, fields)
  }

  /**
   * Call every second or so: writes what is due. `all` writes the rest too, when the process ends.
   */
  flush(now = performance.now(), all = false): void {
    for (const [kind, line] of this.#kinds.entries()) {
      if (line.until > now && !all) continue
      if (line.count === 0 || all) this.#kinds.delete(kind)
      if (line.count === 0) continue
      this.#write(kind, line.count, line.fields)
      line.count = 0
      line.until = now + this.#everyMs
    }
  }
}

/** Estimates the size of fields: texts and errors count, everything else is small. */
const fieldsBytes = (fields: LineFields): number =>
  Object.values(fields).reduce<number>((sum, field) => {
    if (typeof field === 'string') return sum + 64 + textBytes(field)
    return (
      sum +
      (field instanceof Error ? 1024 + textBytes(field.message) + textBytes(field.stack ?? '') : 64)
    )
  }, 200)
