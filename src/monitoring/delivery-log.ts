import type { BaseLogger } from 'pino'
import type { Trouble } from '../auth/sign-in-observer.ts'
import { LINE_EVERY_MS } from '../bounds/limits.ts'
import { CLOSE_REASONS, type CloseReason } from '../delivery/goodbye.ts'
import type { ObservedConnection } from '../delivery/observer.ts'
import { messageOf } from './describe-error.ts'
import type { Assessment, HealthStatus } from './health.ts'
import { type LineFields, MinuteLines } from './minute-lines.ts'

/** Errors of this program, not of its surroundings. */
const OURS = new Set(['internal', 'stream'])

/** Longer than any browser's origin: a host name has at most 253 characters. */
const MAX_ORIGIN = 300
/** No text of ours is longer, but it may quote a name from the query. */
const MAX_DETAIL = 300
/** Reasons for refusals that get lines of their own within a minute. */
const MAX_REASONS = 100

/** The part of a log that is used here. */
export type Logger = Pick<BaseLogger, 'level' | 'debug' | 'info' | 'warn' | 'error'>

/** A request that published durably. `id` is set if it published one notification. */
export interface Accepted {
  readonly producer: string
  readonly requestId: string
  readonly id?: string | undefined
}

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
 * Writes the log lines about deliveries, publishes, refusals and errors. A stream gets a line at
 * `info` when it opens and when it closes. Polls and single publishes are too many for that: they
 * are logged at `debug`, and each producer gets one line a minute at `info`. No line contains a
 * credential, a header, a query or the content of a notification.
 */
export class DeliveryLog {
  readonly #log: Logger
  readonly #everyMs: number
  /** True if each occurrence is logged, at `debug`. */
  readonly #verbose: boolean
  readonly #errors: MinuteLines
  readonly #refusals: MinuteLines
  /** Reasons of the refusals of this minute, at most {@link MAX_REASONS}. */
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
        'reset: the cursor points at an event that this log has lost (an earlier state of the database was restored), or it is forged'
      )
    )
    this.#accepted = new MinuteLines(everyMs, (_producer, count, fields) =>
      log.info({ ...fields, count }, 'publish accepted')
    )
    this.#origins = new MinuteLines(everyMs, (_kind, count, fields) =>
      log.warn(
        { ...fields, count },
        'a page called from an origin that CORS_ORIGINS does not list: its browser hides our responses from it'
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

  /** Logs an error: one line a minute for each code, and each error at `debug`. */
  error(code: string, fields: LineFields & { readonly message: string }): void {
    if (this.#verbose) {
      const { message, ...rest } = fields
      this.#log.debug({ code, ...rest }, `error: ${message}`)
    }
    this.#errors.add(code, 1, fields)
  }

  /**
   * Logs a request that was refused because the caller made a mistake: one line a minute for each
   * reason and route; at `debug`, every request.
   */
  refused(code: string, detail: string, at: RefusedAt): void {
    const fields = { code, ...at, detail: detail.slice(0, MAX_DETAIL) }
    if (this.#verbose) this.#log.debug(fields, 'request refused')
    else this.#refusals.add(this.#kindOf(`${code} ${at.route}`, fields.detail), 1, fields)
  }

  /**
   * Groups by reason until there are too many: some contain a name from the query, which a caller
   * can make up.
   */
  #kindOf(codeAndRoute: string, detail: string): string {
    const kind = `${codeAndRoute} ${detail}`
    if (this.#reasons.size >= MAX_REASONS && !this.#reasons.has(kind)) return codeAndRoute
    this.#reasons.add(kind)
    return kind
  }

  /**
   * Logs a failed sign-in, or a failed fetch of the key set: one line a minute for each setting.
   */
  signInTrouble({ setting, origin, reason }: Trouble): void {
    this.#signIns.add(setting, 1, { code: 'sign-in', setting, origin, reason })
  }

  /**
   * Logs a request from an origin that is not listed: one line a minute in all, because anyone can
   * send any origin.
   */
  unlistedOrigin(origin: string): void {
    this.#origins.add('origin', 1, { origin: origin.slice(0, MAX_ORIGIN) })
  }

  /** Logs a change of status, with the codes of the rules that fire. */
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

  /**
   * Call every second: writes the lines that are due, and with `all` those that are not due yet.
   */
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

/** Polls are many: theirs go to `debug`. */
const levelOf = (
  { transport }: ObservedConnection,
  level: 'debug' | 'info' | 'warn'
): 'debug' | 'info' | 'warn' => (transport === 'poll' && level === 'info' ? 'debug' : level)
