import { closest, distance } from 'fastest-levenshtein'

/** A path that differs by more characters from every address was not meant to be one of them. */
const MAX_SLIPS = 3
/** Longer than any address of ours; comparing costs the product of the lengths. */
const MAX_COMPARED_PATH = 100

/** All routes, to say what the caller of a path that leads nowhere may have meant. */
export class RouteTable {
  readonly #routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = []
  readonly #addresses = new Set<string>()

  add(url: string, methods: readonly string[]): void {
    if (url.replace(/^\//, '') === '*') return
    const source = url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:\w+/g, '[^/]+')
      .replace(/\*/g, '.*')
    this.#routes.push({ pattern: new RegExp(`^${source}$`), methods })
    if (!url.includes('*')) this.#addresses.add(url)
  }

  /** The methods that the path answers, sorted; empty if no route has this path. */
  methodsOf(path: string): string[] {
    const fitting = this.#routes.filter(({ pattern }) => pattern.test(path))
    return [...new Set(fitting.flatMap(({ methods }) => methods))].sort()
  }

  /** The address that the path may be a misspelling of; undefined if none is close. */
  nearest(path: string): string | undefined {
    if (path.length > MAX_COMPARED_PATH) return undefined
    const near = closest(path, [...this.#addresses])
    return distance(path, near) > MAX_SLIPS ? undefined : near
  }
}
