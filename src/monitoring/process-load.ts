import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 20

/** How busy this process is. */
export class ProcessLoad {
  readonly #loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #cpuBefore = process.cpuUsage()
  #cpuAt = performance.now()
  #cpu = 0
  #eventLoopLagMs = 0

  /** CPU in use; 1 is one core. */
  get cpu(): number {
    return this.#cpu
  }

  /** Mean lateness of the event loop in the last seconds. */
  get eventLoopLagMs(): number {
    return this.#eventLoopLagMs
  }

  start(): void {
    this.#loop.enable()
  }

  stop(): void {
    this.#loop.disable()
  }

  /** Call every second; `now` is monotonic milliseconds. */
  tick(now: number): void {
    const { mean } = this.#loop
    this.#eventLoopLagMs = Number.isFinite(mean)
      ? Math.max(0, Math.round(mean / 1e4 - RESOLUTION_MS * 100) / 100)
      : 0
    const { user, system } = process.cpuUsage(this.#cpuBefore)
    const elapsedMs = Math.max(1, now - this.#cpuAt)
    this.#cpu = Math.round(((user + system) / 1000 / elapsedMs) * 1000) / 1000
    this.#cpuBefore = process.cpuUsage()
    this.#cpuAt = now
  }

  /** Call every ten seconds: the lag is the mean since then. */
  restart(): void {
    this.#loop.reset()
  }
}
