import type { Answer, Cluster, Member, NodeView, Question } from './cluster.ts'

/** The cluster of one: whoever has the embedded store is alone. */
export class SingleNode implements Cluster {
  readonly #node: string
  readonly #maxConnectionsPerUser: number
  #member: Member | undefined

  /** `maxConnectionsPerUser` 0: no limit. */
  constructor(node: string, maxConnectionsPerUser: number) {
    this.#node = node
    this.#maxConnectionsPerUser = maxConnectionsPerUser
  }

  join(member: Member): void {
    this.#member = member
  }

  nodes(): readonly NodeView[] {
    return this.#member
      ? [{ node: this.#node, report: this.#member.report(), lastSeenAt: Date.now() }]
      : []
  }

  async ask<K extends Question['kind']>(
    question: Extract<Question, { kind: K }>
  ): Promise<readonly Answer<K>[]> {
    return this.#member ? [this.#member.answer(question)] : []
  }

  async acquire(_user: string, mine: number): Promise<boolean> {
    return this.#maxConnectionsPerUser === 0 || mine <= this.#maxConnectionsPerUser
  }

  report(): void {}

  async leave(): Promise<void> {}
}
