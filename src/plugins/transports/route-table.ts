import { closest, distance } from 'fastest-levenshtein'

/** A path that differs from every address by more characters is not a misspelling. */
const MAX_SLIPS = 3
/** Longer than any address of ours. Comparing takes time in proportion to both lengths. */
const MAX_COMPARED_PATH = 100

/** All routes, to find the methods of a path and the address that a misspelled path meant. */
export class RouteTable {
  readonly #routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = []
  readonly #addresses = new Set<string>()

  /** Adds a route; its path may have parameters and a wildcard. */
  add(url: string, methods: readonly string[]): void {
    if (url.replace(/^\//, '') === '*') return
    const source = url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:\w+/g, '[^/]+')
      .replace(/\*/g, '.*')
    this.#routes.push({ pattern: new RegExp(`^${source}$`), methods })
    if (!url.includes('*')) this.#addresses.add(url)
  }

  /** The methods that routes with this path accept, sorted; empty if there is no such route. */
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
