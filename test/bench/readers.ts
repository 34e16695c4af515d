import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LoadAnswer, LoadCommand } from './load.ts'

/** The readers' process. */
export class Load {
  readonly #child = fork(fileURLToPath(new URL('load.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx']
  })

  async ask(command: LoadCommand): Promise<LoadAnswer> {
    const answer = once(this.#child, 'message')
    this.#child.send(command)
    return (await answer)[0] as LoadAnswer
  }

  async open(port: number, requests: string[]): Promise<number> {
    const answer = await this.ask({ open: { port, requests, window: 64 } })
    return 'seconds' in answer ? answer.seconds : Number.NaN
  }

  /** Events counted since the streams opened. */
  async received(): Promise<{ received: number; lost: number }> {
    const answer = await this.ask({ count: true })
    return 'received' in answer ? answer : { received: Number.NaN, lost: 0 }
  }

  /** How long events were on their way since `time` was asked, in milliseconds. */
  async latency(): Promise<{ p50: number; p99: number }> {
    const answer = await this.ask({ latency: true })
    return 'p50' in answer ? answer : { p50: Number.NaN, p99: Number.NaN }
  }

  stop(): void {
    this.#child.disconnect()
  }
}
