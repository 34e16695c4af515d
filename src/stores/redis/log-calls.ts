import { REDIS_COMMAND_TIMEOUT_MS, REDIS_REPLICA_TIMEOUT_MS } from '../../bounds/limits.ts'
import { StoreError } from '../../log/store.ts'
import type { RedisClients, RedisConnection } from './client.ts'
import { connectionReady } from './connection-ready.ts'
import { isBrokenConnection, isOtherEpoch, storeErrorOf, wasNotSent } from './redis-errors.ts'
import type { RedisLog } from './redis-log.ts'
import { listOf, numberOf, resultsOf, textOf } from './replies.ts'
import { SCRIPTS, type ScriptName } from './scripts.ts'
import { parseStreamId } from './stream-id.ts'

interface Call {
  readonly name: ScriptName
  readonly args: readonly string[]
  readonly connection: RedisConnection
  readonly writes: boolean
  /** Whether the call may be sent again although Redis may have carried it out already. */
  readonly repeatable: boolean
}

/**
 * Runs scripts on a log: waits for the connection and the replicas, and retries when that is safe.
 */
export class LogCalls {
  readonly #clients: RedisClients
  readonly #log: RedisLog
  readonly #waitReplicas: number

  /** `waitReplicas`: replicas that must have a write before it counts; 0: none. */
  constructor(clients: RedisClients, log: RedisLog, waitReplicas: number) {
    this.#clients = clients
    this.#log = log
    this.#waitReplicas = waitReplicas
  }

  /** Runs a script that reads. */
  read(name: ScriptName, args: readonly string[]): Promise<unknown> {
    return this.#run({
      name,
      args,
      connection: this.#clients.reads,
      writes: false,
      repeatable: true
    })
  }

  /**
   * Runs a script that may append. Resolves with its reply in the turn in which its events are
   * followed.
   */
  async write(name: ScriptName, args: readonly string[]): Promise<readonly unknown[]> {
    const { reply, followed } = await this.append(name, args)
    await followed
    return reply
  }

  /**
   * Like `write`, in two steps. `repeatable`: the script recognizes a call that it has carried out
   * already, so the call is sent again after a connection broke.
   */
  async append(
    name: ScriptName,
    args: readonly string[],
    repeatable = false
  ): Promise<{ reply: readonly unknown[]; followed: Promise<void> }> {
    const connection = this.#clients.commands
    const reply = listOf(await this.#run({ name, args, connection, writes: true, repeatable }))
    return { reply, followed: this.#log.followedTo(parseStreamId(textOf(reply[0]))) }
  }

  async #run(call: Call): Promise<unknown> {
    const deadline = performance.now() + REDIS_COMMAND_TIMEOUT_MS
    for (let otherEpochs = 0; ; ) {
      if (this.#log.closed) throw new StoreError('unavailable', 'the store is closed')
      try {
        await this.#usable(call.connection, deadline)
        return await this.#send(call)
      } catch (error) {
        if (isOtherEpoch(error) && otherEpochs++ === 0) {
          await this.#log.pull()
          // A seq of the earlier log means nothing in the new one.
          if (SCRIPTS[call.name].takesSeq)
            throw new StoreError('unavailable', 'a new log replaced this one', { cause: error })
        } else {
          const again = wasNotSent(error) || (call.repeatable && isBrokenConnection(error))
          if (!again || performance.now() >= deadline) throw storeErrorOf(error)
          // The connection reports its own end in between.
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
    }
  }

  async #send({ name, args, connection, writes }: Call): Promise<unknown> {
    const reply = SCRIPTS[name].run(connection, [...this.#log.args(), ...args])
    if (!writes || this.#waitReplicas === 0) return reply
    await reply
    const reached = await this.#replicas(connection)
    if (reached < this.#waitReplicas)
      throw new StoreError(
        'unavailable',
        `${reached} of ${this.#waitReplicas} replicas acknowledged the write (REDIS_WAIT_REPLICAS)`
      )
    return reply
  }

  /** How many replicas have everything that this connection has written. */
  async #replicas(connection: RedisConnection): Promise<number> {
    const pipeline = connection.pipeline()
    // A Cluster sends WAIT to the server of the key before it.
    pipeline.hget(this.#log.keys.state, 'epoch')
    pipeline.wait(this.#waitReplicas, REDIS_REPLICA_TIMEOUT_MS)
    return numberOf((await resultsOf(pipeline))[1])
  }

  /** Waits briefly for a connection that was lost just now, and does not wait for anything else. */
  async #usable(connection: RedisConnection, deadline: number): Promise<void> {
    const log = this.#log
    const before = log.failure
    const patience =
      before === null ? deadline : Math.min(deadline, before.since + REDIS_COMMAND_TIMEOUT_MS)
    await connectionReady(connection, patience)
    // With a wrong number of shards a user would be looked up in the wrong one.
    const mismatch = log.firstMismatch ?? log.mismatch
    if (mismatch !== null) throw new StoreError('unavailable', mismatch)
    // A frozen server takes commands and never replies: callers must not find that out one by one.
    if (log.failure !== null && performance.now() >= patience)
      throw new StoreError('unavailable', log.failure.reason)
    if (log.epoch === '') await log.pull()
    if (log.epoch === '')
      throw new StoreError('unavailable', log.failure?.reason ?? 'Redis has not been reached yet')
  }
}
