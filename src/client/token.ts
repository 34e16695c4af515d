import type { InboxOptions } from './types.ts'

/** A token is renewed this long before its end, or at three quarters of a short life. */
const RENEW_BEFORE_MS = 30_000

/** The claims of a JWT; nothing for what is none. They are not verified: the service does that. */
function claimsOf(token: string): { readonly sub?: string; readonly exp?: number } {
  try {
    // Names of users are ASCII, so the bytes need no decoding.
    return JSON.parse(atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')))
  } catch {
    return {}
  }
}

/** Where the token comes from: asked for once, however many wait for it, and anew before it ends or after it was refused. */
export class TokenSource {
  readonly #given: InboxOptions['token']
  #asked: Promise<string | undefined> | undefined
  #renewAt = Infinity

  constructor(given: InboxOptions['token']) {
    this.#given = given
  }

  /** Milliseconds until it should be renewed. */
  get renewInMs(): number {
    return this.#renewAt - Date.now()
  }

  /** The user that the token names, as far as we can read it. */
  async user(): Promise<string | undefined> {
    return claimsOf((await this.get()) ?? '').sub
  }

  /** Undefined where cookies are the credential. */
  get(): Promise<string | undefined> {
    if (this.renewInMs <= 0) this.refused()
    this.#asked ??= this.#ask()
    return this.#asked
  }

  /** The service has refused it, or its end is near: the next one who asks gets another. True where another can be had. */
  refused(asked = this.#asked): boolean {
    if (asked === this.#asked) {
      this.#asked = undefined
      this.#renewAt = Infinity
    }
    return typeof this.#given === 'function'
  }

  async #ask(): Promise<string | undefined> {
    const given = this.#given
    if (typeof given !== 'function') return given
    try {
      const token = await given()
      const lifeMs = (claimsOf(token).exp ?? 0) * 1000 - Date.now()
      // One that seems to have ended (a clock may be wrong), or names no end, is the service's to judge.
      if (lifeMs > 0) this.#renewAt = Date.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 4)
      return token
    } catch (error) {
      this.refused()
      throw error
    }
  }
}
