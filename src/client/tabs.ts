import type { Frame } from './frame.ts'
import { sleep } from './sleep.ts'
import type { Status } from './types.ts'

/** What the tab that leads tells the others. */
export type FromLeader =
  /** I am here, and this is how it stands. */
  | { readonly status: Status }
  /** `after` is the place that the leader was at before: who is not there yet has missed something. */
  | { readonly frame: Frame; readonly after?: string | undefined }

/** What the others ask: are you there? True: and send the page. */
type Message = FromLeader | { readonly ask: boolean }

/** What a group of tabs needs from each of them. */
export interface Member {
  /** From now on this tab holds the connection, until it is told to let go. */
  lead(): () => void
  /** The leader says something. */
  hear(message: FromLeader): void
  /** Another tab asks, and this one leads. */
  asked(need: boolean): void
}

/** A follower looks for a sign of life this often; heard nothing, it asks, and then takes the lead. */
const TICK_MS = 300
const MISSED = 2
/** Those who miss the leader at one time do not all take its place at one time. */
const SPREAD_MS = 250

/** `end` gives up the wait for the lock, or the connection and the lock. */
interface Role {
  readonly leads: boolean
  readonly end: () => void
}

/**
 * The tabs of one browser that show the same inbox: one holds a Web Lock, and with it the connection. A tab that is closed or
 * crashes loses the lock at once; from one that hangs, or was frozen, it is stolen. Where locks are missing every tab leads.
 */
export class Tabs {
  readonly name: string
  readonly #member: Member
  readonly #channel: BroadcastChannel | undefined
  readonly #timer: ReturnType<typeof setInterval> | undefined
  /** Undefined: not one of them any more. */
  #role: Role | undefined
  #missed = 0

  constructor(name: string, member: Member) {
    this.name = name
    this.#member = member
    // Browsers that have locks have channels.
    if (!globalThis.navigator?.locks) {
      this.#leadAlone()
      return
    }
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = ({ data }) => this.#hear(data)
    this.#follow()
    this.#timer = setInterval(() => this.#look(), TICK_MS)
  }

  /** Tells the other tabs; only the leader has anything to tell. */
  tell(message: FromLeader): void {
    this.#post(true, message)
  }

  /** Asks the leader for a sign of life, or for all it has. */
  ask(need: boolean): void {
    this.#post(false, { ask: need })
  }

  /** Gives up the lead, or the wait for it. */
  leave(): void {
    clearInterval(this.#timer)
    this.#become(undefined)
    this.#channel?.close()
  }

  #post(asLeader: boolean, message: Message): void {
    if (this.#role?.leads === asLeader) this.#channel?.postMessage(message)
  }

  #become(role: Role | undefined): void {
    const before = this.#role
    this.#role = role
    before?.end()
  }

  #leadAlone(): void {
    this.#become({ leads: true, end: this.#member.lead() })
  }

  #follow(): void {
    const waiting = new AbortController()
    this.#become({ leads: false, end: () => waiting.abort() })
    this.#missed = 0
    this.#request({ signal: waiting.signal })
  }

  #request(options: LockOptions): void {
    const asking = this.#role
    let leading: Role | undefined
    navigator.locks
      .request(this.name, options, () => {
        // Granted to one who has left meanwhile, or has taken the lead another way.
        if (this.#role !== asking) return
        return new Promise<void>((release) => {
          const letGo = this.#member.lead()
          leading = {
            leads: true,
            end: () => {
              letGo()
              release()
            }
          }
          this.#become(leading)
        })
      })
      .catch(({ name }: Error) => {
        // Locks are there, and not for pages whose storage is blocked: each for itself, as where there are none.
        if (name !== 'AbortError') this.#leadAlone()
        // Stolen from us: we were thought dead, so we are not the leader any more.
        else if (leading && leading === this.#role) {
          this.#follow()
          this.ask(true)
        }
      })
  }

  #hear(message: Message): void {
    const leads = this.#role?.leads
    if ('ask' in message) {
      if (leads) this.#member.asked(message.ask)
    } else if (leads === false) {
      this.#missed = 0
      this.#member.hear(message)
    }
  }

  /** Heard nothing since the last look but one: ask. Asked, and still nothing: take over, each a little later than another would. */
  async #look(): Promise<void> {
    const role = this.#role
    if (role?.leads !== false) return
    if (++this.#missed === MISSED) this.ask(false)
    if (this.#missed <= MISSED) return
    await sleep(Math.random() * SPREAD_MS)
    if (this.#missed <= MISSED || role !== this.#role) return
    role.end()
    this.#request({ steal: true })
  }
}
