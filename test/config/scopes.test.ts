import { test } from 'tap'
import { loadConfig } from '../../src/config/config.ts'
import { faultsOf, oneFault, PRODUCTION } from './faults.ts'

const KEYS = { ...PRODUCTION, PUBLISH_KEYS: 'app:a-publish-key-0123,mail:another-key-0123' }

test('PUBLISH_SCOPES gives each name its scopes, and is empty by default', async (t) => {
  t.same(loadConfig(KEYS).publishScopes, [])
  t.same(loadConfig({ ...KEYS, PUBLISH_SCOPES: '' }).publishScopes, [])
  t.same(
    loadConfig({ ...KEYS, PUBLISH_SCOPES: ' app:publish+tickets , mail:events' }).publishScopes,
    [
      { name: 'app', scopes: ['publish', 'tickets'] },
      { name: 'mail', scopes: ['events'] }
    ]
  )
  t.same(
    loadConfig({ PUBLISH_SCOPES: 'development:users' }).publishScopes,
    [{ name: 'development', scopes: ['users'] }],
    'the development key has a name'
  )
})

test('an unknown scope or a malformed entry stops the start, and is not repeated', async (t) => {
  for (const PUBLISH_SCOPES of [
    'app:s3cret',
    'app',
    'app:',
    ':publish',
    'app:publish+',
    'app:publish,app:users',
    'app:publish:users',
    'app:Publish',
    'app:publish+s3cret',
    'a b:publish',
    ','
  ]) {
    const settings = { ...KEYS, PUBLISH_SCOPES }
    oneFault(
      t,
      settings,
      /^PUBLISH_SCOPES must be name:scope\+scope.*publish, tickets, users, events$/
    )
    t.notMatch(faultsOf(settings), /s3cret/)
  }
})

test('scopes for a name without a key stop the start', async (t) => {
  const settings = { ...KEYS, PUBLISH_SCOPES: 'app:publish,mial:events' }
  oneFault(t, settings, /^PUBLISH_SCOPES names mial, but PUBLISH_KEYS has no key of that name/)
  oneFault(t, { PUBLISH_SCOPES: 'app:publish' }, /^PUBLISH_SCOPES names app/)
  // One fault does not cause a second one.
  oneFault(t, { ...settings, PUBLISH_KEYS: 'nameless' }, /^PUBLISH_KEYS must be name:key/)
  oneFault(t, { ...settings, PUBLISH_KEYS: '' }, /^PUBLISH_KEYS is required/)
})
