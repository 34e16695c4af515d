import type { BaseLogger } from 'pino'
import { LINE_EVERY_MS } from '../bounds/limits.ts'
import { CLOSE_REASONS, type CloseReason } from '../delivery/close-reason.ts'
import type { ObservedConnection } from '../delivery/observer.ts'
import { messageOf } from './describe-error.ts'
import type { Assessment, HealthStatus } from './health.ts'
import { type LineFields, MinuteLines } from './minute-lines.ts'
import type { Accepted } from './publish-observer.ts'
import type { Trouble } from './sign-ins.ts'

/** Errors that are faults of this program rather than of what is around it. */
const OURS = new Set(['internal', 'stream'])

/** Longer than any origin of a browser: a host name has at most 253 characters. */
const MAX_ORIGIN = 300
/** Of what a caller was told; no text of ours is longer, but it may quote a name from the query. */
const MAX_DETAIL = 300
/** Reasons for refusals that have lines of their own in a minute. */
const MAX_REASONS = 100

/** The part of a log that is used here. */
export type Logger = Pick<BaseLogger, 'level' | 'debug' | 'info' | 'warn' | 'error'>

/** Which request was refused. */
interface RefusedAt {
  readonly requestId: string
  /** Method and pattern of the route: no part of it was chosen by the caller. */
  readonly route: string
}

const STATUS_LEVELS = { ok: 'info', degraded: 'warn', critical: 'error' } as const satisfies Record<
  HealthStatus,
  string
>

/**
 * The lines of the log that tell what was delivered. Streams come and go seldom enough for a line each at `info`, which says why they
 * went; polls and single publications do not, they have theirs at `debug`, and producers one a minute at `info`. No line holds
 * what a notification says, a credential, a header or a query.
 */
export class LogLines {
  readonly #log: Logger
  readonly #everyMs: number
  /** Whether each of them is written, at `debug`. */
  readonly #verbose: boolean
  readonly #errors: MinuteLines
  readonly #refusals: MinuteLines
  /** Of the refusals of this minute; bounded by {@link MAX_REASONS}. */
  readonly #reasons = new Set<string>()
  #reasonsUntil = 0
  readonly #signIns: MinuteLines
  readonly #accepted: MinuteLines
  readonly #origins: MinuteLines
  readonly #undone: MinuteLines

  constructor(log: Logger, everyMs = LINE_EVERY_MS) {
    this.#log = log
    this.#everyMs = everyMs
    this.#verbose = log.level === 'debug' || log.level === 'trace'
    this.#errors = new MinuteLines(everyMs, (code, count, { message, ...fields }) =>
      log[OURS.has(code) ? 'error' : 'warn']({ code, count, ...fields }, `error: ${message}`)
    )
    this.#refusals = new MinuteLines(everyMs, (_kind, count, fields) =>
      log.info({ count, ...fields }, 'request refused')
    )
    this.#signIns = new MinuteLines(everyMs, (_setting, count, { reason, ...fields }) =>
      log.warn(
        { ...fields, count },
        `sign-in: ${fields['setting']} (${fields['origin']}): ${reason}`
      )
    )
    this.#undone = new MinuteLines(everyMs, (_kind, count, fields) =>
      log.warn(
        { ...fields, count },
        'reset: the cursor is of a life of the log that was undone (the database was put back to an earlier state), or forged'
      )
    )
    this.#accepted = new MinuteLines(everyMs, (_producer, count, fields) =>
      log.info({ ...fields, count }, 'publish accepted')
    )
    this.#origins = new MinuteLines(everyMs, (_kind, count, fields) =>
      log.warn(
        { ...fields, count },
        'a page of an origin that is not in CORS_ORIGINS called: its browser hides our answers from it'
      )
    )
  }

  opened(connection: ObservedConnection, requestId: string | undefined): void {
    this.#log[levelOf(connection, 'info')](
      {
        connection: connection.id,
        requestId,
        user: connection.user,
        transport: connection.transport,
        remoteAddress: connection.remoteAddress
      },
      'connection opened'
    )
  }

  closed(connection: ObservedConnection, reason: CloseReason): void {
    this.#log[levelOf(connection, CLOSE_REASONS[reason].level)](
      {
        connection: connection.id,
        user: connection.user,
        transport: connection.transport,
        reason,
        ageMs: Math.round(performance.now() - connection.openedAt),
        frames: connection.frames
      },
      'connection closed'
    )
  }

  failed(connection: ObservedConnection, error: unknown): void {
    const message = messageOf(error)
    this.error('stream', { message, connection: connection.id, err: error })
  }

  undone(connection: ObservedConnection, cursor: string): void {
    this.#undone.add('', 1, { connection: connection.id, user: connection.user, cursor })
  }

  /** An error that is counted, one line a minute and code; each of them at `debug`. */
  error(code: string, fields: LineFields & { readonly message: string }): void {
    if (this.#verbose) {
      const { message, ...rest } = fields
      this.#log.debug({ code, ...rest }, `error: ${message}`)
    }
    this.#errors.add(code, 1, fields)
  }

  /** A request that was refused for a fault of its own: one line a minute for each reason and route; each of them at `debug`. */
  refused(code: string, detail: string, place: RefusedAt): void {
    const fields = { code, ...place, detail: detail.slice(0, MAX_DETAIL) }
    if (this.#verbose) this.#log.debug(fields, 'request refused')
    else this.#refusals.add(this.#kindOf(`${code} ${place.route}`, fields.detail), 1, fields)
  }

  /** Reasons are told apart until there are too many: some hold a name from the query, which anyone may make up. */
  #kindOf(place: string, detail: string): string {
    const kind = `${place} ${detail}`
    if (this.#reasons.size >= MAX_REASONS && !this.#reasons.has(kind)) return place
    this.#reasons.add(kind)
    return kind
  }

  /** Somebody could not be identified, or the keys for it not be fetched: one line a minute for each setting. */
  signInTrouble({ setting, origin, reason }: Trouble): void {
    this.#signIns.add(setting, 1, { code: 'sign-in', setting, origin, reason })
  }

  /** A page called whose origin is not listed. One line a minute in all, for anyone may send any origin. */
  unlistedOrigin(origin: string): void {
    this.#origins.add('origin', 1, { origin: origin.slice(0, MAX_ORIGIN) })
  }

  /** The status changed; the codes say which rules hold now. */
  status(previous: HealthStatus, { status, recommendations }: Assessment): void {
    const codes = recommendations.map(({ code }) => code)
    this.#log[STATUS_LEVELS[status]](
      { status, previous, recommendations: codes },
      `status changed from ${previous} to ${status}`
    )
  }

  accepted(count: number, about: Accepted): void {
    if (this.#verbose) this.#log.debug({ ...about, count }, 'publish accepted')
    else this.#accepted.add(about.producer, count, { ...about })
  }

  /** Once a second: writes what is due; with `all` the rest too. */
  flush(all = false): void {
    const now = performance.now()
    if (now >= this.#reasonsUntil) {
      this.#reasons.clear()
      this.#reasonsUntil = now + this.#everyMs
    }
    for (const lines of [
      this.#errors,
      this.#refusals,
      this.#signIns,
      this.#accepted,
      this.#origins,
      this.#undone
    ])
      lines.flush(now, all)
  }
}

/** A poll is a request among many. */
const levelOf = (
  { transport }: ObservedConnection,
  level: 'debug' | 'info' | 'warn'
): 'debug' | 'info' | 'warn' => (transport === 'poll' && level === 'info' ? 'debug' : level)
