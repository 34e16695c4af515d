import { attempt } from './attempt.ts'
import type { Frame } from './frame.ts'
import type { Page } from './page.ts'
import { sleep } from './sleep.ts'
import type { Status } from './types.ts'

/** What the tab that leads tells the others. */
export type FromLeader =
  /** I am here, and this is how it stands. `page` for one who has asked for it. */
  | { readonly status: Status; readonly page: Page | null }
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

/** One of the tabs of a browser that show the same inbox. */
export interface Tabs {
  readonly name: string
  /** Tells the other tabs; only the leader has anything to tell. */
  tell(message: FromLeader): void
  /** Asks the leader for a sign of life, or for all it has. */
  ask(need: boolean): void
  /** Gives up the lead, or the wait for it. */
  leave(): void
}

/**
 * Joins the tabs that show the same inbox: one holds a Web Lock, and with it the connection. A tab that is closed or crashes
 * loses the lock at once; from one that hangs, or was frozen, it is stolen. Where locks or channels are missing, or are there
 * and refuse, every tab leads.
 */
export function joinTabs(name: string, member: Member): Tabs {
  const locks = attempt(() => navigator.locks)
  const channel = attempt(() => new BroadcastChannel(name))
  let timer: ReturnType<typeof setInterval> | undefined
  /** Undefined: not one of them any more. */
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
        // Granted to one who has left meanwhile, or has taken the lead another way.
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
      // Stolen from us: we were thought dead, so we are not the leader any more.
      if (leading) {
        follow()
        post(false, { ask: true })
      }
      // Locks are there, and not for pages whose storage is blocked: each for itself, as where there are none.
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

  /** Heard nothing since the last look but one: ask. Asked, and still nothing: take over, each a little later than another would. */
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
