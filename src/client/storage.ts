import { attempt } from './attempt.ts'
import type { Mark, Page } from './page.ts'

/** What survives a reload of this tab. */
export interface Kept {
  readonly page: Page | null
  readonly unsent: readonly Mark[]
}

/** What was saved under this name; null or undefined if there is nothing readable. */
export const load = (name: string): Kept | null | undefined =>
  attempt(() => JSON.parse(sessionStorage.getItem(name)!))

/** Saves it. If the browser refuses, the older copy stays, which is still true. */
export const save = (name: string, kept: Kept): void =>
  attempt(() => sessionStorage.setItem(name, JSON.stringify(kept)))

/** Deletes everything saved under names with this prefix. */
export const forget = (prefix: string): void =>
  attempt(() => {
    for (const name of Object.keys(sessionStorage))
      if (name.startsWith(prefix)) sessionStorage.removeItem(name)
  })
