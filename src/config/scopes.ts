import { z } from 'zod'
import { KEY_NAME, listOf } from './values.ts'

/**
 * What a publish key may be allowed: `publish` notifications, look them up and recall them; issue
 * `tickets`; act on `users`; read the feed of `events`.
 */
export const SCOPES = ['publish', 'tickets', 'users', 'events'] as const
export type Scope = (typeof SCOPES)[number]

/** The scopes of the publish keys of one name. */
export interface KeyScopes {
  readonly name: string
  readonly scopes: readonly Scope[]
}

const FORMAT = `must be name:scope+scope, several separated by commas, each name once, with names of PUBLISH_KEYS and the scopes ${SCOPES.join(', ')}`

const isScope = (word: string): word is Scope => SCOPES.some((scope) => scope === word)

/** Scopes by the name of a publish key; a name that is not listed has all of them. */
export const publishScopes = z.string().transform((value, context): readonly KeyScopes[] => {
  const entries = listOf(value).map((entry) => entry.split(':'))
  const list = entries.map(([name = '', words = '']) => ({
    name,
    scopes: words.split('+').filter(isScope)
  }))
  const isWellFormed = entries.every(
    ([name = '', words = '', ...rest]) =>
      KEY_NAME.test(name) && words.split('+').every(isScope) && rest.length === 0
  )
  const isEmpty = list.length === 0 && value !== ''
  if (isWellFormed && !isEmpty && new Set(list.map(({ name }) => name)).size === list.length)
    return list
  context.addIssue({ code: 'custom', message: FORMAT })
  return z.NEVER
})
