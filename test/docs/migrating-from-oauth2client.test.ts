/** docs/migrating-from-oauth2client.md: the script on it takes over what `to_json()` wrote. */
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { CredentialManager } from '../../src/credentials/index.js'
import { google as preset } from '../../src/provider/presets/index.js'
import { sqlStore } from '../../src/storage/sql.js'
import { startPage } from './page.js'

test('one line a person is imported, once, and used without a new sign-in', async () => {
  const { google, clientSecrets, db, issue, script, stored, tokenRequests } = await startPage(
    'migrating-from-oauth2client.md',
  )
  const fixture = await readFile(new URL('../fixtures/python/oauth2client-full.json', import.meta.url), 'utf8')
  const lines: string[] = []
  for (const user of ['alice', 'bob']) {
    const { access_token, refresh_token } = await issue(user)
    const identity = { id_token: { sub: `sub-${user}` }, token_expiry: '2026-01-01T00:00:00Z' }
    const own = { access_token, refresh_token, client_id: google.clientId, ...identity }
    lines.push(JSON.stringify({ user, credentials: { ...JSON.parse(fixture), ...own } }))
  }
  const dead = { access_token: null, refresh_token: null, client_id: google.clientId }
  lines.push(JSON.stringify({ user: 'carol', credentials: { ...JSON.parse(fixture), ...dead } }))
  const env = { CLIENT_SECRETS: await clientSecrets(), INPUT: `${lines.join('\n')}\n` }
  const complaint = [expect.stringMatching(/^carol has to sign in: /)]
  expect(await script('import-credentials', { env })).toEqual(complaint)
  const first = await stored()
  expect([...first.keys()]).toEqual(['user/oauth2/alice', 'user/oauth2/bob'])
  expect(await script('import-credentials', { env })).toEqual(complaint)
  expect(await stored()).toEqual(first)
  expect(tokenRequests()).toEqual([])

  const manager = new CredentialManager({
    provider: preset({ issuer: google.issuer }),
    clientSecretsFile: env.CLIENT_SECRETS,
    storage: sqlStore({ db }),
    encryptionKeys: ['k'.repeat(40)],
  })
  const alice = await manager.user('alice')
  expect(alice.userId).toBe('sub-alice')
  const response = await alice.fetch(`${google.issuer}/drive/v3/files`)
  expect(await response.json()).toEqual({ files: ['of alice'] })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(google.authorizationRequests).toEqual([])
  await manager.close()
})
