import type { Figure } from './figure.ts'
import { FIGURES } from './figures.ts'
import type { NodeState } from './node-monitor.ts'

type Group = Record<string, unknown>

/** The body of `/monitor`. A figure without a value is left out. */
export function monitorBody(state: NodeState): Group {
  const body: Group = {}
  const groups = new Map<string, Group>()
  for (const figure of FIGURES) {
    if (figure.path === undefined) continue
    const value = evaluate(figure, state)
    if (value === undefined) continue
    const [name = '', member] = figure.path.split('.')
    if (member === undefined) {
      body[name] = value
      continue
    }
    const group = groups.get(name) ?? {}
    group[member] = value
    groups.set(name, group)
    body[name] = group
  }
  return body
}

function evaluate(figure: Figure, state: NodeState): unknown {
  if ('show' in figure) return figure.show(state)
  return 'latency' in figure ? figure.latency(state.stats).summary() : figure.read(state)
}
