/** What SQLite takes and returns. Integers here never exceed 53 bits. */
export type SqlValue = string | number | null
/** A row whose columns the statement does not declare. */
export type Row = Record<string, SqlValue>

/** A prepared statement whose rows are `R`. */
export interface Statement<R = Row> {
  run(...values: SqlValue[]): { readonly changes: number | bigint }
  get(...values: SqlValue[]): R | undefined
  all(...values: SqlValue[]): R[]
}

/** A connection to a database file. */
export interface Database {
  exec(sql: string): void
  /** The caller declares the columns of the rows: only SQL knows them. */
  prepare<R = Row>(sql: string): Statement<R>
  close(): void
}

interface OpenOptions {
  readonly readOnly?: boolean
  /** Milliseconds to wait for a lock of another connection. */
  readonly timeout?: number
}

interface Driver {
  readonly DatabaseSync: new (path: string, options?: OpenOptions) => Database
}

// A variable, because the compiler's Node 20 types do not know the module. The package has the same
// interface.
const builtIn: string = 'node:sqlite'
const driver: Driver = await import(builtIn).catch(() => import('@photostructure/sqlite'))

/** Opens a connection. Only this file knows which SQLite this Node has. */
export function openDatabase(path: string, options: OpenOptions = {}): Database {
  return new driver.DatabaseSync(path, options)
}

/** The number of rows a statement changed. */
export const changes = (statement: Statement, ...values: SqlValue[]): number =>
  Number(statement.run(...values).changes)

/** The primary result code of an SQLite error; undefined for any other error. */
export function sqliteCode(error: unknown): number | undefined {
  const code = extendedCode(error)
  return code === undefined ? undefined : code & 0xff
}

/** The extended result code of an SQLite error; undefined for any other error. */
export function extendedCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
    ? error.errcode
    : undefined
}

/** The result codes that Bellwire tells apart (https://sqlite.org/rescode.html). */
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
