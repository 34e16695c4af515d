import { asError, errorOf } from './error.ts'
import { TokenSource } from './token.ts'
import type { InboxOptions } from './types.ts'

/** How long an answer may take. */
const PATIENCE_MS = 20_000

export type Query = Readonly<Record<string, string | number | undefined>>

/** Requests to one service in the name of one user. */
export class Api {
  readonly token: TokenSource
  readonly ticket: InboxOptions['ticket']
  readonly #base: string
  readonly #topics: string | undefined

  constructor({ url = '/', token, ticket, topics }: InboxOptions) {
    this.token = new TokenSource(token)
    this.ticket = ticket
    this.#base = new URL(url, globalThis.location?.href).href.replace(/\/?$/, '/v1/')
    this.#topics = topics?.join()
  }

  /** An address with its query; what is not set is left out. */
  address(path: string, query: Query = {}): string {
    const url = new URL(this.#base + path)
    for (const [name, value] of Object.entries({ topics: this.#topics, ...query })) {
      if (value !== undefined) url.searchParams.set(name, `${value}`)
    }
    return url.href
  }

  /** Sends a request. A refused token is replaced, once; any other answer than 2xx is an error. */
  async send(path: string, query: Query, init: RequestInit): Promise<Response> {
    for (let renewed = false; ; renewed = true) {
      const asked = this.token.get()
      let response: Response
      try {
        const token = await asked
        response = await fetch(this.address(path, query), {
          ...init,
          cache: 'no-store',
          credentials: token ? 'omit' : 'include',
          headers: { ...init.headers, ...(token && { authorization: `Bearer ${token}` }) }
        })
      } catch (error) {
        throw asError(error)
      }
      if (response.ok) return response
      if (response.status !== 401 || renewed || !this.token.refused(asked)) throw await errorOf(response)
    }
  }

  /** The same for JSON; a body makes it a POST. */
  async json<T>(path: string, query: Query, body?: unknown, signal = AbortSignal.timeout(PATIENCE_MS)): Promise<T> {
    const post = body != null && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      // A mark on the way out of a page still arrives.
      keepalive: true
    }
    const response = await this.send(path, query, { signal, ...post })
    return response.json().catch((error) => {
      throw asError(error)
    })
  }
}
