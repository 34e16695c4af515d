/**
 * The clients of `storm.ts`, in a process of their own: raw sockets, one shared buffer, and the
 * three lines of a frame that matter. Each reconnects with its cursor, as EventSource does.
 */
import { connect, type Socket } from 'node:net'
import { now } from './clock.ts'

/** A notification: its number, the user it was for (−1: all of them), when it was accepted. */
export type Accepted = readonly [n: number, user: number, at: number]

export type StormCommand =
  | {
      readonly start: {
        readonly port: number
        /** The first user; the others follow. */
        readonly first: number
        readonly tokens: readonly string[]
        /** False: reconnects at once, whatever `retry` says. */
        readonly patient: boolean
      }
    }
  | { readonly status: true }
  | { readonly verify: readonly Accepted[]; readonly liveAt: number }

export interface StormStatus {
  readonly live: number
  readonly received: number
  /** Answers and ends other than a stream, counted by what was said. */
  readonly refused: Readonly<Record<string, number>>
}

export interface StormVerdict {
  readonly lost: number
  readonly twice: number
  readonly strange: number
  /** When the last of what was accepted before `liveAt` arrived. */
  readonly caughtUpAt: number
}

/**
 * How long an impatient client waits on average if nobody listens: ten thousand that came at once
 * every time would take the whole machine.
 */
const REFUSED_MS = 1000
/** Streams that are opened at once at the beginning. */
const WINDOW = 64

const shared = Buffer.allocUnsafe(256 * 1024)
const refused: Record<string, number> = {}
let received = 0
let live = 0

function count(what: string): void {
  refused[what] = (refused[what] ?? 0) + 1
}

class Client {
  readonly user: number
  readonly arrivals: { readonly n: number; readonly at: number }[] = []
  readonly #port: number
  readonly #token: string
  readonly #patient: boolean
  readonly #onLive: () => void
  #cursor = ''
  #retryMs = 3000
  #rest = ''
  #phase: 'head' | 'opening' | 'live' = 'head'

  constructor(
    user: number,
    { port, patient }: { readonly port: number; readonly patient: boolean },
    token: string,
    onLive: () => void
  ) {
    this.user = user
    this.#port = port
    this.#token = token
    this.#patient = patient
    this.#onLive = onLive
  }

  open = (): void => {
    this.#rest = ''
    this.#phase = 'head'
    let answered = false
    const socket: Socket = connect({
      port: this.#port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => {
          answered = true
          this.#read(shared.toString('latin1', 0, length))
          return true
        }
      }
    })
    let code: string | undefined
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code
    })
    socket.on('close', () => {
      if (this.#phase === 'live') live--
      else if (!answered && code !== 'ECONNREFUSED') count(`cut off (${code ?? 'closed'})`)
      const impatientMs = code === 'ECONNREFUSED' ? REFUSED_MS * (0.5 + Math.random()) : 0
      setTimeout(this.open, this.#patient ? this.#retryMs : impatientMs)
    })
    const cursor = this.#cursor === '' ? '' : `Last-Event-ID: ${this.#cursor}\r\n`
    socket.write(
      `GET /v1/stream?items=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${this.#token}\r\n${cursor}\r\n`
    )
  }

  #read(chunk: string): void {
    let text = this.#rest + chunk
    if (this.#phase === 'head') {
      const end = text.indexOf('\r\n\r\n')
      if (end >= 0) {
        const status = text.slice(9, 12)
        if (status !== '200') count(`status ${status}`)
        this.#phase = 'opening'
        text = text.slice(end + 4)
      }
    }
    let from = 0
    if (this.#phase !== 'head') {
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n', from)) {
        this.#frame(text.slice(from, end))
        from = end + 2
      }
    }
    this.#rest = text.slice(from)
  }

  #frame(frame: string): void {
    const retry = /^retry: (\d+)/m.exec(frame)?.[1]
    if (retry !== undefined) this.#retryMs = Number(retry)
    const event = /^event: (\w+)/m.exec(frame)?.[1]
    if (event === 'goodbye') {
      count(`goodbye ${/"reason":"(\w+)"/.exec(frame)?.[1]}`)
      return
    }
    const id = /^id: (.+)$/m.exec(frame)?.[1]
    if (id !== undefined) this.#cursor = id
    if (event === 'notification') {
      received++
      this.arrivals.push({ n: Number(/"n":(\d+)/.exec(frame)?.[1]), at: now() })
    } else if (event === 'ready' || event === 'reset') {
      if (event === 'reset') count('reset')
      if (this.#phase === 'live') return
      this.#phase = 'live'
      live++
      this.#onLive()
    }
  }
}

const clients: Client[] = []

function start({
  port,
  first,
  tokens,
  patient
}: Extract<StormCommand, { start: unknown }>['start']) {
  let next = 0
  const openNext = (): void => clients[next++]?.open()
  for (const [k, token] of tokens.entries()) {
    let opened = false
    const onLive = (): void => {
      if (opened) return
      opened = true
      openNext()
    }
    clients.push(new Client(first + k, { port, patient }, token, onLive))
  }
  for (let k = 0; k < WINDOW; k++) openNext()
}

/** Compares what each client got with what was accepted for it. */
function verify(accepted: readonly Accepted[], liveAt: number): StormVerdict {
  const early = new Set(accepted.filter(([, , at]) => at < liveAt).map(([n]) => n))
  const forAll = accepted.filter(([, user]) => user < 0).map(([n]) => n)
  const byUser = new Map<number, number[]>()
  for (const [n, user] of accepted) byUser.set(user, [...(byUser.get(user) ?? []), n])
  let [lost, twice, strange, caughtUpAt] = [0, 0, 0, 0]
  for (const { user, arrivals } of clients) {
    const expected = new Set([...forAll, ...(byUser.get(user) ?? [])])
    const got = new Set(arrivals.map(({ n }) => n))
    twice += arrivals.length - got.size
    for (const n of expected) if (!got.has(n)) lost++
    for (const n of got) if (!expected.has(n)) strange++
    for (const { n, at } of arrivals) if (early.has(n) && at > caughtUpAt) caughtUpAt = at
  }
  return { lost, twice, strange, caughtUpAt }
}

process.on('message', (command: StormCommand) => {
  if ('start' in command) start(command.start)
  else if ('verify' in command) process.send!(verify(command.verify, command.liveAt))
  else process.send!({ live, received, refused } satisfies StormStatus)
})
process.on('disconnect', () => process.exit(0))
