import type { Latency } from './latency.ts'
import type { NodeState } from './node-monitor.ts'
import type { Stats } from './stats.ts'

/** A value, or one for each value of the labels. Undefined: there is nothing to say. */
export type MetricValue =
  | number
  | boolean
  | undefined
  | readonly (readonly [labels: string | readonly string[], value: number])[]

/** How a figure appears in `/metrics`. */
export interface Metric {
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly name: string
  readonly help: string
  /** Names of its labels. Their values come from fixed sets: no user, topic or address. */
  readonly labels?: readonly string[]
}

/** In the body of `/monitor` only. */
interface ShownFigure {
  /** Where it is in the body: `group.member`, or a name by itself. */
  readonly path: string
  readonly show: (state: NodeState) => unknown
  readonly metric?: undefined
}

/** In `/metrics`, and with a `path` in the body of `/monitor` too. */
interface MeasuredFigure {
  readonly path?: string
  readonly metric: Metric & { readonly type: 'gauge' | 'counter' }
  readonly read: (state: NodeState) => MetricValue
}

/** In `/monitor` as a summary in milliseconds, in `/metrics` as a histogram in seconds. */
interface LatencyFigure {
  readonly path: string
  readonly metric: Metric & { readonly type: 'histogram' }
  readonly latency: (stats: Stats) => Latency
}

/** A row of the table of figures. */
export type Figure = ShownFigure | MeasuredFigure | LatencyFigure

/** A value that goes up and down. */
export const gauge = (name: string, help: string, ...labels: string[]) =>
  ({ type: 'gauge', name, help, labels }) as const
/** A count since the start; its name ends in `_total`. */
export const counter = (name: string, help: string, ...labels: string[]) =>
  ({ type: 'counter', name, help, labels }) as const
/** Durations; its name ends in `_seconds`. */
export const histogram = (name: string, help: string) =>
  ({ type: 'histogram', name, help }) as const
