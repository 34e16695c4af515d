import { test } from 'tap'
import type { Item } from '../../src/client/types.ts'
import {
  type Content,
  contentFields,
  encodeContent,
  plainFields,
  storedFields
} from '../../src/log/content.ts'

test('every field of a notification is accepted, stored, encoded and typed in the SDK', async (t) => {
  const full: Required<Content> = {
    type: 'comment',
    title: 'a "title"',
    body: 'line\nline',
    url: '/drafts/7',
    image: 'https://img.example/7.png',
    level: 'success',
    data: { draft: 7 },
    key: 'draft:7'
  }
  // Fails to compile if the SDK lacks a field.
  const shown: readonly (keyof Item)[] = Object.keys(storedFields) as (keyof Content)[]
  t.strictSame(Object.keys(full), shown)
  t.strictSame(Object.keys(contentFields), shown)
  t.strictSame(
    Object.keys(plainFields),
    shown.filter((name) => name !== 'data')
  )
  t.equal(`{${encodeContent(full)}}`, JSON.stringify(full), 'in the order of the table')
})
