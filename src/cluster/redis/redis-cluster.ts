import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  ACQUIRE_SLOT_MS,
  ASK_MS,
  BEAT_MS,
  CLUSTER_KEYS_MS,
  LEASE_MS,
  MAX_ANSWER_BYTES,
  MAX_ANSWER_ROWS,
  MAX_UNSURE_USERS,
  SLOTS_SLICE
} from '../../bounds/limits.ts'
import {
  connectRedis,
  isReady,
  type RedisClients,
  type RedisConnection
} from '../../stores/redis/client.ts'
import { channelRefusal, reasonOf } from '../../stores/redis/redis-errors.ts'
import {
  ANSWERS,
  type Answer,
  boundAnswer,
  type Cluster,
  type Member,
  NodeReport,
  type NodeView,
  Question
} from '../cluster.ts'

export interface RedisClusterOptions {
  readonly redisUrl: string
  readonly redisPrefix: string
  /** 0: no limit. */
  readonly maxConnectionsPerUser: number
  readonly onTrouble: (message: string) => void
}

type Kind = Question['kind']

/** A question of ours that others are answering. */
interface Asked {
  readonly kind: Kind
  readonly answers: unknown[]
  /** How many nodes were reached, once Redis has told. */
  expected: number
  done: () => void
}

/** What the other nodes hear and say. */
type Message =
  | { readonly id: string; readonly from: string; readonly question: unknown }
  | { readonly id: string; readonly answer: unknown }

/** Marks a node's places as complete; no user can be called so. */
const COMPLETE = '#'

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')

/**
 * The nodes that share one Redis. All keys carry one hash tag, `<prefix>:{nodes}:…`:
 *
 * - `seen`, a sorted set, and `reports`, a hash: who lives, and how it stands (`renew-lease-3.lua`).
 * - `places:<node>`, a hash: how many connections each user has there (`acquire-slot-2.lua`). A dead node's go with its lease.
 * - Channels `ask` and `answer:<node>`: Pub/Sub, which may lose what is said. So nothing is asked whose answer must be right: it is
 *   for operators and for counts. What must not be lost goes through the log.
 *
 * While Redis is away or slow the limit per user holds on each node by itself: streams stay possible, and a user may then have up to so
 * many times the limit as there are nodes. When it is back each node tells its places again; nobody is cut off.
 */
export class RedisCluster implements Cluster {
  readonly #node: string
  readonly #options: RedisClusterOptions
  readonly #clients: RedisClients
  readonly #key: (name: string) => string
  /** Questions that wait for answers, {@link ASK_MS} at most. */
  readonly #asked = new Map<string, Asked>()
  /** Users whose number may not have arrived; bounded by {@link MAX_UNSURE_USERS}. */
  readonly #unsure = new Set<string>()
  /** True if there were more of them than are remembered: then all are told. */
  #unsureOfAll = false
  #member: Member | undefined
  #others: readonly NodeView[] = []
  /** Monotonic milliseconds of the last beat that was answered. */
  #heardAt = Number.NEGATIVE_INFINITY
  /** False from the first failure to the next beat that is answered: who opens a stream then does not wait. */
  #answers = false
  /** True while the channels are subscribed to. */
  #hears = false
  /** Why the channels could not be subscribed to, as last reported. */
  #silence: string | undefined
  #timer: NodeJS.Timeout | undefined
  #beating = false

  private constructor(node: string, options: RedisClusterOptions, clients: RedisClients) {
    this.#node = node
    this.#options = options
    this.#clients = clients
    this.#key = (name) => `${options.redisPrefix}:{nodes}:${name}`
  }

  /** Connects; Redis need not be there yet. */
  static async open(node: string, options: RedisClusterOptions): Promise<RedisCluster> {
    const clients = await connectRedis(options.redisUrl, {
      name: `${options.redisPrefix}:${node}:nodes`,
      // The store tells of the same trouble; told twice it would count twice.
      onError: () => {}
    })
    for (const connection of [clients.commands, clients.reads]) {
      connection.defineCommand('renewLease', {
        numberOfKeys: 3,
        lua: script('./renew-lease-3.lua')
      })
      connection.defineCommand('acquireSlot', {
        numberOfKeys: 2,
        lua: script('./acquire-slot-2.lua')
      })
    }
    return new RedisCluster(node, options, clients)
  }

  join(member: Member): void {
    this.#member = member
    const { commands, subscriber } = this.#clients
    const hear = (channel: string, text: string): void => this.#hear(channel, text)
    subscriber.on('message', hear)
    // In a Cluster, where channels belong to a shard.
    subscriber.on('smessage', hear)
    whenReady(subscriber, () => void this.#listen())
    subscriber.on('close', () => {
      this.#hears = false
    })
    whenReady(commands, () => void this.#beat())
    this.#timer = setInterval(() => {
      void this.#beat()
      // Refused or unanswered before: a right may have been granted since.
      if (!this.#hears) void this.#listen()
    }, BEAT_MS).unref()
  }

  nodes(): readonly NodeView[] {
    if (!this.#member) return []
    const own = { node: this.#node, report: this.#member.report(), lastSeenAt: Date.now() }
    // Whether others live nobody can tell while Redis is away; told for as long as a lease, as with any silence.
    return performance.now() - this.#heardAt > LEASE_MS ? [own] : [own, ...this.#others]
  }

  async ask<K extends Kind>(
    question: Extract<Question, { kind: K }>
  ): Promise<readonly Answer<K>[]> {
    const own = this.#member ? [this.#member.answer<K>(question)] : []
    if (!this.#hears || !isReady(this.#clients.reads)) return own
    const id = randomBytes(9).toString('base64url')
    const asked: Asked = {
      kind: question.kind,
      answers: own,
      expected: Number.POSITIVE_INFINITY,
      done: () => {}
    }
    this.#asked.set(id, asked)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ASK_MS)
      asked.done = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#say('ask', { id, from: this.#node, question }).then(
        // Redis tells how many it reached, so that who just died is not waited for, and who just came is.
        (reached) => {
          asked.expected = reached
          if (asked.answers.length >= reached) asked.done()
        },
        () => asked.done()
      )
    })
    this.#asked.delete(id)
    return asked.answers as Answer<K>[]
  }

  async acquire(user: string, mine: number): Promise<boolean> {
    const most = this.#options.maxConnectionsPerUser
    if (most === 0) return true
    if (mine > most) return false
    if (!this.#answers) {
      this.#doubt(user)
      return true
    }
    const keys = [this.#key('seen'), this.#key(`places:${this.#node}`)]
    const values = [this.#node, user, mine, most, LEASE_MS, this.#key('places:'), CLUSTER_KEYS_MS]
    try {
      return (
        (await within(
          runScript(this.#clients.commands, 'acquireSlot', [...keys, ...values]),
          ACQUIRE_SLOT_MS
        )) === 1
      )
    } catch (error) {
      this.#doubt(user)
      this.#failed(error)
      return true
    }
  }

  report(user: string, mine: number): void {
    if (this.#options.maxConnectionsPerUser === 0) return
    if (!this.#answers) {
      this.#doubt(user)
      return
    }
    const key = this.#key(`places:${this.#node}`)
    const { commands } = this.#clients
    const told: Promise<unknown> =
      mine === 0 ? commands.hdel(key, user) : commands.hset(key, user, mine)
    told.catch((error: unknown) => {
      this.#doubt(user)
      this.#failed(error)
    })
  }

  async leave(): Promise<void> {
    clearInterval(this.#timer)
    const { commands } = this.#clients
    if (this.#member && isReady(commands)) {
      const gone = commands
        .multi()
        .zrem(this.#key('seen'), this.#node)
        .hdel(this.#key('reports'), this.#node)
        .del(this.#key(`places:${this.#node}`))
        .exec()
      // The lease ends by itself where this fails.
      await within(gone, ASK_MS).catch(() => {})
    }
    this.#member = undefined
    this.#clients.close()
  }

  #doubt(user: string): void {
    if (this.#unsure.size < MAX_UNSURE_USERS) this.#unsure.add(user)
    else this.#unsureOfAll = true
  }

  get #sharded(): boolean {
    return this.#clients.kind === 'cluster'
  }

  async #listen(): Promise<void> {
    const { subscriber } = this.#clients
    if (!isReady(subscriber)) return
    const channels = [this.#key('ask'), this.#key(`answer:${this.#node}`)]
    try {
      await (this.#sharded ? subscriber.ssubscribe(...channels) : subscriber.subscribe(...channels))
      this.#hears = isReady(subscriber)
      this.#silence = undefined
    } catch (error) {
      const silence = channelRefusal(error as Error, this.#options.redisPrefix)
      if (silence !== this.#silence)
        this.#options.onTrouble(`the other nodes cannot be heard: ${silence}`)
      this.#silence = silence
    }
  }

  #failed(error: unknown): void {
    if (!this.#answers) return
    this.#answers = false
    this.#options.onTrouble(
      `the other nodes cannot be asked, limits per user hold on each node by itself: ${reasonOf(error)}`
    )
  }

  async #beat(): Promise<void> {
    const member = this.#member
    if (!member || this.#beating) return
    this.#beating = true
    try {
      const keys = ['seen', 'reports', `places:${this.#node}`].map(this.#key)
      const values = [
        this.#node,
        JSON.stringify(member.report()),
        LEASE_MS,
        this.#key('places:'),
        CLUSTER_KEYS_MS
      ]
      const answer = (await runScript(this.#clients.commands, 'renewLease', [
        ...keys,
        ...values
      ])) as (string | number)[]
      const [complete, now, ...rows] = answer
      this.#heardAt = performance.now()
      this.#others = viewsOf(rows, Date.now() - Number(now)).filter(
        ({ node }) => node !== this.#node
      )
      // In one turn: whatever is told from here on goes behind it on the same connection.
      this.#answers = true
      const all = complete !== 1 || this.#unsureOfAll
      await this.#tell(all ? [...member.held()] : this.#changes(member), all)
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#beating = false
    }
  }

  /** Users whose number may not have arrived, with the number. */
  #changes(member: Member): [user: string, count: number][] {
    const users = [...this.#unsure]
    this.#unsure.clear()
    return users.map((user) => [user, member.heldOf(user)])
  }

  /** Tells the numbers of users; `all` replaces what Redis has. */
  async #tell(
    places: readonly (readonly [user: string, count: number])[],
    all: boolean
  ): Promise<void> {
    if (places.length === 0 && !all) return
    const key = this.#key(`places:${this.#node}`)
    const batch = this.#clients.commands.pipeline()
    if (all) {
      batch.del(key)
      this.#unsure.clear()
      this.#unsureOfAll = false
    }
    for (let at = 0; at < places.length; at += SLOTS_SLICE) {
      const slice = places.slice(at, at + SLOTS_SLICE)
      const gone = slice.filter(([, count]) => count === 0).map(([user]) => user)
      const there = slice.filter(([, count]) => count > 0).flat()
      if (gone.length > 0) batch.hdel(key, ...gone)
      if (there.length > 0) batch.hset(key, ...there)
    }
    // Last: without it they would be told again with the next beat.
    if (all) batch.hset(key, COMPLETE, 1)
    batch.pexpire(key, CLUSTER_KEYS_MS)
    let results: [error: Error | null, result: unknown][] | null
    try {
      results = await batch.exec()
    } catch (error) {
      this.#unsureOfAll ||= all
      throw error
    }
    const failure = results?.find(([error]) => error)?.[0]
    if (!failure) return
    for (const [user] of places) this.#doubt(user)
    throw failure
  }

  #hear(channel: string, text: string): void {
    let message: Message
    try {
      message = JSON.parse(text) as Message
    } catch {
      return // not from a node of ours
    }
    if (channel === this.#key('ask') && 'question' in message) this.#answer(message)
    else if ('answer' in message) this.#take(message.id, message.answer)
  }

  #answer({ id, from, question }: Extract<Message, { question: unknown }>): void {
    // A newer node may ask what this one does not know.
    const parsed = Question.safeParse(question)
    if (!this.#member || from === this.#node || !parsed.success) return
    const asked = parsed.data
    const bounded =
      'limit' in asked ? { ...asked, limit: Math.min(asked.limit, MAX_ANSWER_ROWS) } : asked
    const answer = boundAnswer(this.#member.answer(bounded), MAX_ANSWER_BYTES)
    this.#say(`answer:${from}`, { id, answer }).catch(() => {}) // the other does not wait for ever
  }

  #take(id: string, answer: unknown): void {
    const asked = this.#asked.get(id)
    if (!asked) return
    const parsed = ANSWERS[asked.kind].safeParse(answer)
    if (parsed.success) asked.answers.push(parsed.data)
    else asked.expected--
    if (asked.answers.length >= asked.expected) asked.done()
  }

  #say(channel: string, message: Message): Promise<number> {
    const { reads } = this.#clients
    const text = JSON.stringify(message)
    const said = this.#sharded
      ? reads.spublish(this.#key(channel), text)
      : reads.publish(this.#key(channel), text)
    return said as Promise<number>
  }
}

/** Now, where it is so, and whenever it is so again. */
function whenReady(connection: RedisConnection, then: () => void): void {
  connection.on('ready', then)
  if (isReady(connection)) then()
}

function runScript(
  connection: RedisConnection,
  name: 'renewLease' | 'acquireSlot',
  values: readonly (string | number)[]
): Promise<unknown> {
  const commands = connection as unknown as Record<
    typeof name,
    (...values: (string | number)[]) => Promise<unknown>
  >
  return commands[name](...values)
}

function viewsOf(rows: readonly (string | number)[], ahead: number): NodeView[] {
  const views: NodeView[] = []
  for (let i = 0; i + 2 < rows.length; i += 3) {
    try {
      const report = NodeReport.parse(JSON.parse(String(rows[i + 2])))
      views.push({ node: String(rows[i]), report, lastSeenAt: Number(rows[i + 1]) + ahead })
    } catch {
      // A node of another version, whose report does not fit: it is there, and cannot be told of.
    }
  }
  return views
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  promise.catch(() => {}) // heard here when it is not late; nobody else waits for it afterwards
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
