import type { Frame } from './frame.ts'
import type { Page } from './page.ts'
import type { Status } from './types.ts'

/** What the tabs of one user tell each other. */
export type Message =
  /** From a follower: are you there? `need`: and send what you have. */
  | { readonly kind: 'ask'; readonly need: boolean }
  /** From the leader: I am, and this is how it stands. */
  | { readonly kind: 'here'; readonly status: Status; readonly error: string | null }
  | { readonly kind: 'page'; readonly page: Page }
  /** `after` is the place that the leader was at before: who is not there yet has missed something. */
  | { readonly kind: 'frame'; readonly frame: Frame; readonly after: string | null }

/** What a group of tabs needs from each of them. */
export interface Member {
  /** From now on this tab holds the connection, until `signal` aborts. */
  lead(signal: AbortSignal): void
  /** The leader says something. */
  hear(message: Exclude<Message, { kind: 'ask' }>): void
  /** A follower asks, and this tab leads. */
  asked(need: boolean): void
}

/** A follower looks for a sign of life this often, and after two times without one it takes the lead. */
const TICK_MS = 400
const MISSED = 2
/** The last question before that, so that many who miss the leader choose one. */
const LAST_MS = 200

type Role =
  | { readonly name: 'follower'; readonly waiting: AbortController }
  | { readonly name: 'leader'; readonly leading: AbortController; readonly release: () => void }
  | { readonly name: 'left' }

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * The tabs of one browser that show the same inbox: one holds a Web Lock, and with it the connection. A tab that is closed or
 * crashes loses the lock at once; from one that hangs, or was frozen, it is stolen. Where locks are missing every tab leads.
 */
export class Tabs {
  readonly #name: string
  readonly #member: Member
  readonly #channel: BroadcastChannel | undefined
  #role: Role = { name: 'left' }
  #missed = 0
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(name: string, member: Member, shared: boolean) {
    this.#name = name
    this.#member = member
    if (!shared || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) {
      const leading = new AbortController()
      this.#role = { name: 'leader', leading, release: () => {} }
      member.lead(leading.signal)
      return
    }
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data)
    this.#follow()
    this.#timer = setInterval(() => this.#look(), TICK_MS)
  }

  get leads(): boolean {
    return this.#role.name === 'leader'
  }

  /** Tells the other tabs; only the leader has anything to tell. */
  tell(message: Message): void {
    if (this.#role.name === 'leader') this.#channel?.postMessage(message)
  }

  /** Asks the leader for what it has. */
  ask(need: boolean): void {
    if (this.#role.name === 'follower') this.#channel?.postMessage({ kind: 'ask', need } satisfies Message)
  }

  /** Gives up the lead, or the wait for it. */
  leave(): void {
    const role = this.#role
    this.#role = { name: 'left' }
    clearInterval(this.#timer)
    if (role.name === 'follower') role.waiting.abort()
    if (role.name === 'leader') {
      role.leading.abort()
      role.release()
    }
    this.#channel?.close()
  }

  #follow(): void {
    const waiting = new AbortController()
    this.#role = { name: 'follower', waiting }
    this.#missed = 0
    this.#request({ signal: waiting.signal })
  }

  #request(options: LockOptions): void {
    const asking = this.#role
    let led: Role | undefined
    navigator.locks
      .request(this.#name, options, () => {
        // Granted to one who has left meanwhile, or has taken the lead another way.
        if (this.#role !== asking) return
        const leading = new AbortController()
        return new Promise<void>((release) => {
          led = { name: 'leader', leading, release }
          this.#role = led
          this.#member.lead(leading.signal)
        })
      })
      .catch(() => {
        // Stolen from us: we were thought dead, so we are not the leader any more.
        if (!led || led !== this.#role || led.name !== 'leader') return
        led.leading.abort()
        this.#follow()
        this.ask(true)
      })
  }

  #hear(message: Message): void {
    if (message.kind === 'ask') {
      if (this.#role.name === 'leader') this.#member.asked(message.need)
      return
    }
    this.#missed = 0
    if (this.#role.name === 'follower') this.#member.hear(message)
  }

  /** Heard nothing since the last look: ask. Asked, and still nothing: take over. */
  #look(): void {
    if (this.#role.name !== 'follower') return
    if (this.#missed++ === 0) return
    if (this.#missed <= MISSED) this.ask(false)
    else void this.#steal()
  }

  /** One tab at a time, which asks once more. */
  async #steal(): Promise<void> {
    await navigator.locks.request(`${this.#name} steal`, { ifAvailable: true }, async (lock) => {
      if (!lock) return
      this.ask(false)
      await sleep(LAST_MS)
      const role = this.#role
      if (this.#missed <= MISSED || role.name !== 'follower') return
      role.waiting.abort()
      this.#request({ steal: true })
      // Until the others have heard of it.
      await sleep(LAST_MS)
    })
  }
}
