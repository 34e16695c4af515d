import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { median } from './median.ts'
import { type Aim, type Row, rowsOf, type Sizes } from './rows.ts'

interface Kept {
  readonly figures: Record<string, number[]>
  readonly faults: string[]
}

/** The figures of all rounds, and the table of their medians. */
export class Figures {
  readonly #rows: ReturnType<typeof rowsOf>
  readonly #file: string | undefined
  readonly #kept: Kept = { figures: {}, faults: [] }

  /** `file` keeps the figures, so that rounds may be measured one by one. */
  constructor(sizes: Sizes, file: string | undefined) {
    this.#rows = rowsOf(sizes)
    this.#file = file
    if (file !== undefined && existsSync(file))
      this.#kept = JSON.parse(readFileSync(file, 'utf8')) as Kept
  }

  get faults(): readonly string[] {
    return this.#kept.faults
  }

  title(row: Row): string {
    return this.#rows[row].title
  }

  record(target: string, row: Row, value: number): void {
    const { figures } = this.#kept
    const key = `${target}/${row}`
    figures[key] = [...(figures[key] ?? []), value]
    process.stderr.write(`  ${target}, ${row}: ${value.toPrecision(4)} ${this.#rows[row].unit}\n`)
  }

  fault(text: string): void {
    this.#kept.faults.push(text)
  }

  /** Writes the figures to the file, if there is one. */
  keep(): void {
    if (this.#file !== undefined) writeFileSync(this.#file, JSON.stringify(this.#kept, null, 1))
  }

  /** The number of rounds of the first row. */
  get rounds(): number {
    return this.#kept.figures['bellwire/connectCpu']?.length ?? 0
  }

  /** The table in Markdown. The ratio is that of Bellwire to the naive server. */
  table(peers: readonly string[]): string {
    const columns = ['Bellwire', 'naive', ...peers, 'ratio', 'aim']
    const lines = [`| | ${columns.join(' | ')} |`, `|---|${columns.map(() => '--:|').join('')}`]
    for (const row of this.#names()) {
      const { title, unit } = this.#rows[row]
      const { ours, naive, aim } = this.#judge(row)
      const found = [ours, naive, ...peers.map((peer) => this.#median(peer, row))]
      const ratio = ours === null || naive === null ? '–' : (ours / naive).toFixed(2)
      const cells = [...found.map((value) => text(value, unit)), ratio, aim]
      lines.push(`| ${title} | ${cells.join(' | ')} |`)
    }
    return lines.join('\n')
  }

  /** How many aims were judged, and the rows that missed theirs. */
  verdict(): { readonly judged: number; readonly missed: readonly Row[] } {
    const rows = this.#names().filter((row) => this.#judge(row).met !== null)
    return { judged: rows.length, missed: rows.filter((row) => this.#judge(row).met === false) }
  }

  #names(): Row[] {
    return Object.keys(this.#rows) as Row[]
  }

  #judge(row: Row): {
    readonly ours: number | null
    readonly naive: number | null
    readonly aim: string
    /** Null if the row has no aim or was not measured. */
    readonly met: boolean | null
  } {
    const shape: { unit: string; aim?: Aim; against?: string } = this.#rows[row]
    const ours = this.#median('bellwire', row)
    const naive = this.#median('naive', (shape.against ?? row) as Row)
    const { aim } = shape
    if (!aim) return { ours, naive, aim: '', met: null }
    const most = 'ratio' in aim ? aim.ratio : aim.figure
    const value = 'figure' in aim ? ours : ours === null || naive === null ? null : ours / naive
    const met = value === null ? null : value <= most
    const bound = `≤ ${'ratio' in aim ? aim.ratio : `${aim.figure.toLocaleString('en')} ${shape.unit}`}`
    return { ours, naive, aim: met === false ? `${bound}, missed` : bound, met }
  }

  #median(target: string, row: Row): number | null {
    return median(this.#kept.figures[`${target}/${row}`] ?? [])
  }
}

const text = (value: number | null, unit: string): string =>
  value === null
    ? '–'
    : `${value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)} ${unit}`
