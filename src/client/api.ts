import { attempt } from './attempt.ts'
import { asError, BellwireError, errorOf } from './error.ts'
import { type TokenSource, tokenSource } from './token.ts'
import type { InboxOptions } from './types.ts'

/** How long an answer may take. */
const PATIENCE_MS = 20_000

export type Query = Readonly<Record<string, string | number | undefined>>

/** Requests to one service in the name of one user. */
export interface Api {
  readonly ticket: InboxOptions['ticket']
  readonly token: TokenSource
  /** An address with its query; what is not set is left out. */
  address(path: string, query?: Query): string
  /** Sends a request. A refused token is replaced, once; anything but a success of this type, which is the service's, is an error. */
  send(path: string, query: Query, type: string, init: RequestInit): Promise<Response>
  /** The same for JSON; a body makes it a POST. */
  json<T>(path: string, query: Query, body?: unknown, signal?: AbortSignal): Promise<T>
  /** The time by the service's clock, never ahead of it; NaN before the service has told it. */
  now(): number
  /** The same as text; by the device's clock before the service has told it. */
  isoNow(): string
  /** The service's clock shows this, or at least this. */
  setClock(ms: number, atLeast?: boolean): void
}

/** Throws a {@link BellwireError} if `url` is no address. */
export function createApi({ url, token: given, ticket, topics }: InboxOptions): Api {
  const base = attempt(() =>
    new URL(
      url || '/',
      attempt(() => location.href)
    ).href.replace(/\/?$/, '/v1/')
  )
  if (!base) throw new BellwireError('url', `url is no address: ${url}`)
  const token = tokenSource(given)
  /** How far the service's clock is ahead of one that counts up evenly, whatever becomes of the device's. */
  let aheadMs = Number.NaN
  let answered = false

  const api: Api = {
    token,
    ticket,
    // JSON leaves out what is undefined.
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
        // A mark on the way out of a page still arrives.
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

  /** Browsers do not tell a page why another origin cannot be reached. Two causes last until somebody hears of them. */
  async function unreachable(error: unknown): Promise<never> {
    const { protocol, origin } = attempt(() => location) ?? {}
    if (origin && !answered && error instanceof TypeError && !base!.startsWith(origin)) {
      const insecure = protocol === 'https:' && base!.startsWith('http:')
      // Any page may have /client.js: if that comes, the rest was kept from this one.
      if (
        insecure ||
        (await fetch(`${base}../client.js`, { mode: 'no-cors', cache: 'no-store' }).catch(() => 0))
      ) {
        throw new BellwireError(
          'blocked',
          insecure ? 'a page of https needs a url of https' : `is ${origin} in CORS_ORIGINS?`
        )
      }
    }
    throw asError(error)
  }
  return api
}
