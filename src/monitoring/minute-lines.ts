import { BoundedCache, textBytes } from '../bounds/bounded-cache.ts'

/** What a line tells beside its count: of the latest occurrence, whose request id leads to the rest. */
export type LineFields = Readonly<Record<string, unknown>>

interface Line {
  until: number
  count: number
  fields: LineFields
  /** What `fields` took when the line was last weighed. */
  readonly bytes: number
}

/**
 * Lines about what may happen thousands of times a second: the first of a kind is written at once, those behind it together when its
 * minute is over. So nothing is kept quiet, and nothing floods the log.
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
      // What was counted until then is not kept quiet.
      onEvict: ({ count, fields }, kind) => {
        if (count > 0) write(kind, count, fields)
      }
    })
  }

  /** It happened, `count` times. Kinds without end do not fill the memory: the oldest is written and forgotten. */
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

  /** Once a second or so: writes what is due. `all` writes the rest too, for the end of the process. */
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

/** Texts that fields hold, an error's own included; what else they hold is small. */
const fieldsBytes = (fields: LineFields): number =>
  Object.values(fields).reduce<number>((sum, field) => {
    if (typeof field === 'string') return sum + 64 + textBytes(field)
    return (
      sum +
      (field instanceof Error ? 1024 + textBytes(field.message) + textBytes(field.stack ?? '') : 64)
    )
  }, 200)
