import { attempt } from './attempt.ts'
import type { Frame } from './frame.ts'
import type { Page } from './page.ts'
import { sleep } from './sleep.ts'
import type { Status } from './types.ts'

/** What the leading tab sends to the others. */
export type FromLeader =
  /** A sign of life with the status; with `page` if a tab has requested it. */
  | { readonly status: Status; readonly page: Page | null }
  /**
   * `after` is the leader's cursor before the frame: a tab that is not there yet has missed events.
   */
  | { readonly frame: Frame; readonly after?: string | undefined }

/** What the others ask: are you there? If true: and send the page. */
type Message = FromLeader | { readonly ask: boolean }

/** What the group needs from each tab. */
export interface Member {
  /** This tab now holds the connection, until the returned function is called. */
  lead(): () => void
  /** The leader sent something. */
  hear(message: FromLeader): void
  /** Another tab asks, and this one leads; `need`: it wants the page. */
  asked(need: boolean): void
}

/**
 * A follower checks for a sign of life this often. Without one it asks, and then takes the lead.
 */
const TICK_MS = 300
const MISSED = 2
/** Jitter: tabs that miss the leader at the same time must not all take the lead at once. */
const SPREAD_MS = 250

/** `end` stops waiting for the lock, or gives up the connection and the lock. */
interface Role {
  readonly leads: boolean
  readonly end: () => void
}

/** One of the tabs of a browser that show the same inbox. */
export interface Tabs {
  readonly name: string
  /** Sends to the other tabs; does nothing unless this tab leads. */
  tell(message: FromLeader): void
  /** Asks the leader for a sign of life, or for its page. */
  ask(need: boolean): void
  /** Gives up the lead, or stops waiting for it. */
  leave(): void
}

/**
 * Joins the tabs that show the same inbox. One of them holds a Web Lock, and with it the
 * connection. A tab that closes or crashes loses the lock at once; from a tab that hangs or is
 * frozen it is stolen. If locks or channels are missing or refuse to work, every tab leads.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: every function here reads or changes the role
export function joinTabs(name: string, member: Member): Tabs {
  const locks = attempt(() => navigator.locks)
  const channel = attempt(() => new BroadcastChannel(name))
  let timer: ReturnType<typeof setInterval> | undefined
  /** Undefined once this tab has left. */
  let role: Role | undefined
  let missed = 0

  const post = (asLeader: boolean, message: Message): void => {
    if (role?.leads === asLeader) attempt(() => channel?.postMessage(message))
  }
  const become = (next?: Role): void => {
    const before = role
    role = next
    before?.end()
  }
  const leadAlone = (): void => become({ leads: true, end: member.lead() })
  const follow = (): void => {
    const waiting = new AbortController()
    become({ leads: false, end: () => waiting.abort() })
    missed = 0
    void request({ signal: waiting.signal })
  }

  async function request(options: LockOptions): Promise<void> {
    const asking = role
    let leading: Role | undefined
    try {
      await locks!.request(name, options, () => {
        // This tab has left meanwhile, or has taken the lead in another way.
        if (role !== asking) return
        return new Promise<void>((release) => {
          const letGo = member.lead()
          leading = {
            leads: true,
            end: () => {
              letGo()
              release()
            }
          }
          become(leading)
        })
      })
    } catch (error) {
      if (role !== (leading ?? asking)) return
      // The lock was stolen: another tab took this one for dead and leads now.
      if (leading) {
        follow()
        post(false, { ask: true })
      }
      // With blocked storage locks exist but refuse to work: every tab leads, as without locks.
      else if ((error as Error).name !== 'AbortError') leadAlone()
    }
  }

  const hear = (message: Message): void => {
    if ('ask' in message) {
      if (role?.leads) member.asked(message.ask)
    } else if (role?.leads === false) {
      missed = 0
      member.hear(message)
    }
  }

  /**
   * After two checks without a sign of life: ask. After one more: take the lead, after a random
   * delay.
   */
  const look = async (): Promise<void> => {
    const before = role
    if (before?.leads !== false) return
    if (++missed === MISSED) post(false, { ask: false })
    if (missed <= MISSED) return
    await sleep(Math.random() * SPREAD_MS)
    if (missed <= MISSED || before !== role) return
    before.end()
    void request({ steal: true })
  }

  if (locks && channel) {
    channel.onmessage = ({ data }) => hear(data)
    follow()
    timer = setInterval(look, TICK_MS)
  } else leadAlone()
  return {
    name,
    tell: (message) => post(true, message),
    ask: (need) => post(false, { ask: need }),
    leave() {
      clearInterval(timer)
      become()
      channel?.close()
    }
  }
}
