import { BellwireError } from './error.ts'
import type { InboxOptions } from './types.ts'

/** A token is renewed this long before its end, or at three quarters of a short life. */
const RENEW_BEFORE_MS = 30_000
/** A longer delay makes a timer fire at once. */
const MAX_DELAY_MS = 2_147_483_647

/** The claims of a JWT; nothing for what is none. They are not verified: the service does that. */
function claimsOf(token: string): { readonly sub?: string; readonly exp?: number } {
  try {
    const bytes = Uint8Array.from(atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return {}
  }
}

/** Where the token comes from: asked for once, however many wait for it, and anew before it ends or after it was refused. */
export class TokenSource {
  readonly #given: InboxOptions['token']
  #token: string | undefined
  #renewAt = Number.POSITIVE_INFINITY
  #asked: Promise<string> | undefined

  constructor(given: InboxOptions['token']) {
    this.#given = given
    if (typeof given === 'string') this.#token = given
  }

  /** False where cookies are the credential. */
  get inUse(): boolean {
    return this.#given !== undefined
  }

  /** The user that the token names, as far as we can read it. */
  async user(): Promise<string | undefined> {
    return this.inUse ? claimsOf(await this.get()).sub : undefined
  }

  /** Milliseconds until it should be renewed. */
  get renewInMs(): number {
    return Math.min(this.#renewAt - Date.now(), MAX_DELAY_MS)
  }

  get(): Promise<string> {
    if (typeof this.#given !== 'function') return Promise.resolve(this.#token ?? '')
    if (this.#token !== undefined && this.renewInMs > 0) return Promise.resolve(this.#token)
    this.#asked ??= this.#ask(this.#given).finally(() => {
      this.#asked = undefined
    })
    return this.#asked
  }

  /** The service has refused it. True where another can be had. */
  refused(token: string | undefined): boolean {
    if (typeof this.#given !== 'function') return false
    if (token === undefined || token === this.#token) this.#token = undefined
    return true
  }

  async #ask(give: () => string | Promise<string>): Promise<string> {
    try {
      const token = await give()
      const { exp } = claimsOf(token)
      const lifeMs = exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000 - Date.now()
      // One that seems to have ended (a clock may be wrong) is the service's to judge.
      this.#renewAt = lifeMs > 0 ? Date.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 4) : Number.POSITIVE_INFINITY
      this.#token = token
      return token
    } catch (error) {
      throw new BellwireError('token', `the token callback failed: ${error instanceof Error ? error.message : error}`)
    }
  }
}
