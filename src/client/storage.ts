import type { Mark, Page } from './page.ts'

/** What survives a reload of this tab. */
export interface Kept {
  readonly page: Page | null
  readonly unsent: readonly Mark[]
}

/** What was kept under this name, if it can be read. */
export function load(name: string): Kept | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(name)!)
  } catch {
    return undefined
  }
}

/** Keeps it. Where the browser refuses, what was kept before stays: it is older, and as true. */
export function save(name: string, kept: Kept): void {
  try {
    sessionStorage.setItem(name, JSON.stringify(kept))
  } catch {
    // Full, or switched off.
  }
}
