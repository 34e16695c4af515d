import { parse } from 'node:querystring'

/**
 * Parameters that are lists. Generated clients repeat the name for each value; the values are
 * joined.
 */
const LISTS: ReadonlySet<string> = new Set(['topics'])

/**
 * Server option `querystringParser`: every parameter is one string. If one that is no list is
 * repeated, its first value counts.
 */
export function parseQuery(text: string): Record<string, string> {
  const query: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(parse(text))) {
    if (value === undefined) continue
    query[name] =
      typeof value === 'string'
        ? value
        : LISTS.has(name)
          ? value.filter((part) => part !== '').join(',')
          : (value[0] ?? '')
  }
  return query
}
