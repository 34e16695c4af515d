import { attempt } from './attempt.ts'
import { asError, BellwireError, errorOf } from './error.ts'
import { type TokenSource, tokenSource } from './token.ts'
import type { InboxOptions } from './types.ts'

/** How long a request may take. */
const PATIENCE_MS = 20_000

/** Parameters of a URL; undefined ones are omitted. */
export type Query = Readonly<Record<string, string | number | undefined>>

/** Requests to one service on behalf of one user. */
export interface Api {
  readonly ticket: InboxOptions['ticket']
  readonly token: TokenSource
  /** The URL of a path below `/v1/`, with the topics and the parameters given. */
  address(path: string, query?: Query): string
  /**
   * Sends a request. After a 401 it retries once with a new token. Throws a `BellwireError` unless
   * the response is a 2xx of this media type, which proves that the service answered.
   */
  send(path: string, query: Query, type: string, init: RequestInit): Promise<Response>
  /** The same for JSON; a body makes it a POST. */
  json<T>(path: string, query: Query, body?: unknown, signal?: AbortSignal): Promise<T>
  /** The time by the service's clock, never ahead of it; NaN until the service has answered. */
  now(): number
  /** The same as ISO 8601; by the device's clock until the service has answered. */
  isoNow(): string
  /** Sets the service's clock; with `atLeast` only if it is behind. */
  setClock(ms: number, atLeast?: boolean): void
}

/**
 * Throws a {@link BellwireError} if `url` is not a URL. One closure, because its functions share a
 * clock and a flag: with `unreachable` outside the script would be 12 bytes larger.
 */
export function createApi({ url, token: given, ticket, topics }: InboxOptions): Api {
  const base = attempt(() =>
    new URL(
      url || '/',
      attempt(() => location.href)
    ).href.replace(/\/?$/, '/v1/')
  )
  if (!base) throw new BellwireError('url', `not a URL: ${url}`)
  const token = tokenSource(given)
  /**
   * How far the service's clock is ahead of `performance.now()`, which a changed device clock does
   * not affect.
   */
  let aheadMs = Number.NaN
  let answered = false

  const api: Api = {
    token,
    ticket,
    // JSON omits undefined values.
    address: (path, query) =>
      `${base}${path}?${new URLSearchParams(JSON.parse(JSON.stringify({ topics: topics?.toString(), ...query })))}`,

    async send(path, query, type, init) {
      for (let renewed = false; ; renewed = true) {
        const asked = token.get()
        const bearer = await asked
        const response = await fetch(api.address(path, query), {
          ...init,
          cache: 'no-store',
          credentials: bearer ? 'omit' : 'include',
          headers: { ...init.headers, ...(bearer && { authorization: `Bearer ${bearer}` }) }
        }).catch(unreachable)
        answered = true
        if (response.ok && response.headers.get('content-type')?.startsWith(type)) {
          api.setClock(Date.parse(response.headers.get('date')!))
          return response
        }
        const error = await errorOf(response)
        if (error.code !== 'unauthenticated' || renewed || !token.refused(asked)) throw error
      }
    },

    async json(path, query, body, signal = AbortSignal.timeout(PATIENCE_MS)) {
      const post = body != null && {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        // A mark made while the page closes still arrives.
        keepalive: true
      }
      return (await api.send(path, query, 'application/json', { signal, ...post }))
        .json()
        .catch(unreachable)
    },

    now: () => performance.now() + aheadMs,
    isoNow: () => new Date(api.now() || Date.now()).toISOString(),
    setClock(ms, atLeast) {
      if (ms > 0 && !(atLeast && api.now() >= ms)) aheadMs = ms - performance.now()
    }
  }

  /**
   * Browsers hide from a page why another origin cannot be reached. Two causes need a developer, so
   * they get an error of their own.
   */
  async function unreachable(error: unknown): Promise<never> {
    const { protocol, origin } = attempt(() => location) ?? {}
    if (origin && !answered && error instanceof TypeError && !base!.startsWith(origin)) {
      const insecure = protocol === 'https:' && base!.startsWith('http:')
      // Every origin may load /client.js: if that works, CORS blocks this page.
      if (
        insecure ||
        (await fetch(`${base}../client.js`, { mode: 'no-cors', cache: 'no-store' }).catch(() => 0))
      ) {
        throw new BellwireError(
          'blocked',
          insecure ? 'an https page needs an https url' : `is ${origin} in CORS_ORIGINS?`
        )
      }
    }
    throw asError(error)
  }
  return api
}
