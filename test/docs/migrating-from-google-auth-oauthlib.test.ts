/** docs/migrating-from-google-auth-oauthlib.md: the script on it takes over files that google-auth wrote. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { google as preset } from '../../src/provider/presets/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { sqlStore } from '../../src/storage/sql.js'
import { Browser } from '../helpers/browser.js'
import { listen } from '../helpers/listen.js'
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

test.each([
  ['a sign-in finds the account that was told apart, and its refresh token', 'sub-alice', 'imported'],
  [
    'a sign-in takes the place of one that was not, and is asked for a refresh token with offline: "required"',
    undefined,
    'new',
  ],
])('%s', async (_name, userId, expected) => {
  const { google, clientSecrets, issue } = await startPage('migrating-from-google-auth-oauthlib.md')
  const { access_token: token, refresh_token } = await issue('alice')
  const file = { token, refresh_token, client_id: google.clientId, expiry: '2026-01-01T00:00:00Z' }
  const read = Credentials.fromAuthorizedUser(file)
  const app = Fastify()
  onTestFinished(() => app.close())
  app.register(cookie)
  app.register(session, { secret: 's'.repeat(40), cookie: { secure: 'auto' } })
  app.register(oauth2Client, {
    provider: preset({ issuer: google.issuer }),
    clientSecretsFile: await clientSecrets(),
    storage: memoryStore(),
    offline: 'required',
    userKey: () => 'u1',
  })
  app.get('/', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.email)
  const url = await listen(app)
  const user = await app.oauth2.user('u1')
  await user.adopt(new Credentials({ ...read, ...(userId === undefined ? {} : { userId }) }))
  expect((await new Browser().goto(`${url}/oauth2authorize`)).body).toBe('alice@example.test')
  const [account, ...others] = (await app.oauth2.user('u1')).accounts()
  expect([account?.id, account?.refreshable, others]).toEqual(['sub-alice', true, []])
  await google.expireAccessTokens()
  await (await app.oauth2.user('u1')).getAccessToken({
    rejected: (await (await app.oauth2.user('u1')).getAccessToken()).token,
  })
  const used = google.tokenRequests.at(-1)?.params.refresh_token
  expect(used === refresh_token ? 'imported' : 'new').toBe(expected)
})
