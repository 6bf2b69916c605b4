/** docs/migrating-from-google-auth-oauthlib.md: the script on it takes over files that google-auth wrote. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CredentialManager } from '../../src/credentials/index.js'
import { sqlStore } from '../../src/storage/sql.js'
import { startPage } from './page.js'

test('one file a person is imported, once, and used without a new sign-in', async () => {
  const { google, clientSecrets, db, folder, issue, script, stored, tokenRequests } = await startPage(
    'migrating-from-google-auth-oauthlib.md',
  )
  const template = await readFile(new URL('../fixtures/python/google-auth-full.json', import.meta.url), 'utf8')
  const args: string[] = []
  for (const user of ['alice', 'bob']) {
    const { access_token: token, refresh_token } = await issue(user)
    const own = { token, refresh_token, client_id: google.clientId, expiry: '2026-01-01T00:00:00Z' }
    const file = join(folder, `${user}.json`)
    await writeFile(file, JSON.stringify({ ...JSON.parse(template), ...own }))
    args.push(file)
  }
  const CLIENT_SECRETS = await clientSecrets()
  const env = { CLIENT_SECRETS, ISSUER: google.issuer }
  await script('import-authorized-users', { env, args })
  const first = await stored()
  expect([...first.keys()]).toEqual(['user/oauth2/alice', 'user/oauth2/bob'])
  await script('import-authorized-users', { env, args })
  expect(await stored()).toEqual(first)
  expect(tokenRequests()).toEqual([])

  const manager = new CredentialManager({
    provider: { issuer: google.issuer },
    clientSecretsFile: CLIENT_SECRETS,
    storage: sqlStore({ db }),
    encryptionKeys: ['k'.repeat(40)],
  })
  const alice = await manager.user('alice')
  const response = await alice.fetch(`${google.issuer}/drive/v3/files`)
  expect(await response.json()).toEqual({ files: ['of alice'] })
  expect(tokenRequests()).toEqual(['refresh_token'])
  expect(google.authorizationRequests).toEqual([])
  await manager.close()
})
