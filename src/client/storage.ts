import { attempt } from './attempt.ts'
import type { Mark, Page } from './page.ts'

/** What survives a reload of this tab. */
export interface Kept {
  readonly page: Page | null
  readonly unsent: readonly Mark[]
}

/** What was kept under this name, if it can be read. */
export const load = (name: string): Kept | null | undefined =>
  attempt(() => JSON.parse(sessionStorage.getItem(name)!))

/** Keeps it. If the browser refuses, what was kept before stays: it is older, and as true. */
export const save = (name: string, kept: Kept): void =>
  attempt(() => sessionStorage.setItem(name, JSON.stringify(kept)))

/** Removes all that was kept under names that begin like this. */
export const forget = (prefix: string): void =>
  attempt(() => {
    for (const name of Object.keys(sessionStorage))
      if (name.startsWith(prefix)) sessionStorage.removeItem(name)
  })
