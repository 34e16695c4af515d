import type { Cluster, LocalNode, NodeView } from './cluster.ts'
import type { NodeAnswer, NodeQuery } from './node-query.ts'

/** A cluster of one node: a process with the embedded store has no others. */
export class SingleNode implements Cluster {
  readonly reachable = true
  readonly #node: string
  readonly #maxConnectionsPerUser: number
  #local: LocalNode | undefined

  /** `maxConnectionsPerUser` 0: no limit. */
  constructor(node: string, maxConnectionsPerUser: number) {
    this.#node = node
    this.#maxConnectionsPerUser = maxConnectionsPerUser
  }

  join(local: LocalNode): void {
    this.#local = local
  }

  nodes(): readonly NodeView[] {
    return this.#local
      ? [{ node: this.#node, report: this.#local.report(), lastSeenAt: Date.now() }]
      : []
  }

  async ask<K extends NodeQuery['kind']>(
    question: Extract<NodeQuery, { kind: K }>
  ): Promise<readonly NodeAnswer<K>[]> {
    return this.#local ? [this.#local.answer(question)] : []
  }

  async acquire(_user: string, mine: number): Promise<boolean> {
    return this.#maxConnectionsPerUser === 0 || mine <= this.#maxConnectionsPerUser
  }

  report(): void {}

  async leave(): Promise<void> {}
}
