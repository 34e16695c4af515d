import type { Mark, Page } from './page.ts'

/** What survives a reload of this tab. */
export interface Kept {
  readonly page: Page | null
  readonly unsent: readonly Mark[]
}

/** Items that are kept; the rest can be loaded again. */
const MAX_KEPT = 100

/** What was kept under this name, if it can be read. */
export function load(name: string): Kept | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(name) ?? 'null')
    return Array.isArray(kept?.unsent) ? kept : null
  } catch {
    return null
  }
}

/** Keeps it, or nothing where the browser refuses: then a reload starts with a fresh page. */
export function save(name: string, { page, unsent }: Kept): void {
  try {
    const short = page && { ...page, items: page.items.slice(0, MAX_KEPT), more: page.more || page.items.length > MAX_KEPT }
    sessionStorage.setItem(name, JSON.stringify({ page: short, unsent } satisfies Kept))
  } catch {
    forget(name)
  }
}

export function forget(name: string): void {
  try {
    sessionStorage.removeItem(name)
  } catch {
    // There is no storage, so nothing is kept.
  }
}
