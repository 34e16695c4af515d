import type { Slice, Weight } from '../../bounds/fair-queue.ts'
import { WRITER_STALL_MS } from '../../bounds/limits.ts'
import type { FollowedEvent } from '../../log/event.ts'
import type { Publication } from '../../log/notification.ts'
import type { PublishOutcome } from '../../log/store.ts'
import type { CommandKind, Commands, Results, WriterData, WriterReport } from './commands.ts'
import { GroupCommit, type PendingCommand } from './group-commit.ts'
import { publishReport, type Report } from './reports.ts'
import { decodeResult, encodeCommand } from './thread-messages.ts'

/** Whom {@link Commits} tells what happens. */
export interface CommitObserver {
  /** After each report of the writer: the events that became durable with it, if any, in order. */
  reported(events: readonly FollowedEvent[]): void
  /** How long a commit took, in milliseconds. */
  committed(ms: number): void
  /** The writer ended, and cannot be started again. */
  lost(error: Error): void
}

/** Sends commands to the writer thread, and turns its reports into outcomes and events. */
export class Commits {
  readonly #writer: GroupCommit
  readonly #observer: CommitObserver
  #head: number
  #floor: number
  #commitMs: number | undefined
  #trouble: string | null = null
  /** Events of the report that is being processed. */
  #events: FollowedEvent[] = []

  constructor(
    data: Omit<WriterData, 'turn'>,
    { head, floor }: { readonly head: number; readonly floor: number },
    observer: CommitObserver
  ) {
    this.#head = head
    this.#floor = floor
    this.#observer = observer
    this.#writer = new GroupCommit(data, this.#receive, (error) => observer.lost(error))
  }

  /** Resolves when the writer has started; rejects if it could not. */
  get ready(): Promise<void> {
    return this.#writer.ready
  }

  /** Seq of the newest event that is durable. */
  get head(): number {
    return this.#head
  }

  /** No client can resume below this seq. */
  get floor(): number {
    return this.#floor
  }

  /** Duration of the last commit in milliseconds; undefined before the first. */
  get commitMs(): number | undefined {
    return this.#commitMs
  }

  /** True if the writer has ended. */
  get lost(): boolean {
    return this.#writer.gone !== null
  }

  /** Why commits fail or hang; null if they do not. */
  get trouble(): string | null {
    const { gone, busyMs } = this.#writer
    if (gone) return gone.message
    return busyMs > WRITER_STALL_MS
      ? `the disk has not finished a write for ${Math.floor(busyMs / 1000)} s`
      : this.#trouble
  }

  /** Sends one command. `entries`: how many it may touch, if that is more than a few. */
  send<K extends CommandKind, Outcome>(
    kind: K,
    command: Commands[K],
    report: (result: Results[K]) => Report<Outcome>,
    entries = 1
  ): Promise<Outcome> {
    return new Promise((resolve, failed) => {
      const weight = { entries, bytes: 0 }
      this.#writer.send([this.#pending(kind, command, weight, report, resolve, failed)])
    })
  }

  /** Publishes the slices of one request, in order. Each has a transaction of its own. */
  publish(slices: readonly Slice<Publication>[]): Promise<readonly PublishOutcome[]>[] {
    const commands: PendingCommand[] = []
    const outcomes = slices.map(
      (slice) =>
        new Promise<readonly PublishOutcome[]>((resolve, failed) => {
          const report = (results: Results['publish']) => publishReport(slice.items, results)
          commands.push(this.#pending('publish', slice, slice, report, resolve, failed))
        })
    )
    this.#writer.send(commands)
    return outcomes
  }

  /** Accepts no more commands, and fails those that were not sent yet. */
  abandon(): void {
    this.#writer.abandon()
  }

  /** Finishes the commands it has, then ends the writer. */
  close(): Promise<void> {
    return this.#writer.close()
  }

  /** Processes a report in one turn: first the answers, then all events together. */
  #receive = (report: WriterReport, settle: () => void): void => {
    this.#head = report.head
    this.#floor = report.floor
    this.#trouble = report.trouble
    if (report.commitMs > 0) {
      this.#commitMs = report.commitMs
      this.#observer.committed(report.commitMs)
    }
    this.#events = report.dropped.map((channel) => ({ kind: 'dropped', channel }))
    settle()
    this.#observer.reported(this.#events)
  }

  #pending<K extends CommandKind, Outcome>(
    kind: K,
    command: Commands[K],
    { entries, bytes }: Weight,
    report: (result: Results[K]) => Report<Outcome>,
    resolve: (outcome: Outcome) => void,
    failed: (error: Error) => void
  ): PendingCommand {
    return {
      entries,
      bytes,
      encode: (to) => encodeCommand(kind, command, to),
      done: (from) => {
        const { outcome, events } = report(decodeResult(kind, from))
        for (const event of events) this.#events.push(event)
        resolve(outcome)
      },
      failed
    }
  }
}
