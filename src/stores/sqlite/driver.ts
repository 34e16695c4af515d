/** What SQLite takes and gives; never more than 53 bits of integer here. */
export type SqlValue = string | number | null
export type Row = Record<string, SqlValue>

export interface Statement {
  run(...values: SqlValue[]): { readonly changes: number | bigint }
  get(...values: SqlValue[]): Row | undefined
  all(...values: SqlValue[]): Row[]
}

export interface Database {
  exec(sql: string): void
  prepare(sql: string): Statement
  close(): void
}

interface Driver {
  readonly DatabaseSync: new (
    path: string,
    options?: { readonly readOnly?: boolean; readonly timeout?: number }
  ) => Database
}

// A variable, because the compiler's Node 20 types do not know the module. The package has the same interface.
const builtIn: string = 'node:sqlite'
const driver: Driver = await import(builtIn).catch(() => import('@photostructure/sqlite'))

/** Opens a connection. The one place that knows which SQLite this Node has. */
export function openDatabase(
  path: string,
  options: { readonly readOnly?: boolean; readonly timeout?: number } = {}
): Database {
  return new driver.DatabaseSync(path, options)
}

/** The primary result code of an error of SQLite's, or undefined for any other error. */
export function sqliteCode(error: unknown): number | undefined {
  const code = extendedCode(error)
  return code === undefined ? undefined : code & 0xff
}

/** The extended result code of an error of SQLite's. */
export function extendedCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode
  return typeof code === 'number' ? code : undefined
}

/** Result codes we tell apart (https://sqlite.org/rescode.html). */
export const SQLITE = {
  busy: 5,
  readonly: 8,
  ioerr: 10,
  corrupt: 11,
  full: 13,
  cantopen: 14,
  notadb: 26,
  ioerrShmSize: 4874
} as const
