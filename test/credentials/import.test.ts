/** Credentials that Python programs wrote: the files in test/fixtures/python are real, from the script beside them. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { StrictProvider } from '../helpers/strict-provider.js'

const DRIVE = 'https://www.googleapis.com/auth/drive.readonly'
const EXPIRY = Date.UTC(2026, 2, 4, 5, 6, 7)
const fixture = (name: string) => readFileSync(new URL(`../fixtures/python/${name}.json`, import.meta.url), 'utf8')
const withMembers = (name: string, members: object) => JSON.stringify({ ...JSON.parse(fixture(name)), ...members })
const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'FST_OAUTH2_CREDENTIALS_INVALID', message: expect.stringMatching(message) })

const CLIENT = 'client.apps.googleusercontent.com'
const person = { accessToken: 'access-canary', refreshToken: 'refresh-canary', clientId: CLIENT, tokenType: 'Bearer' }

describe('Credentials.fromOAuth2Client', () => {
  test('CL-1, CL-16: tokens, expiry, identity, claims and the raw ID token; scopes as granted, not as asked for', () => {
    expect({ ...Credentials.fromOAuth2Client(fixture('oauth2client-full')) }).toMatchObject({
      ...person,
      expiresAt: EXPIRY,
      scopes: ['openid', DRIVE],
      idToken: 'header.payload.signature-canary',
      claims: { sub: '1234567890', email: 'alice@example.com' },
      userId: '1234567890',
      email: 'alice@example.com',
      issuer: undefined,
    })
  })

  test.each([
    ['oauth2client-scopes-only', { ...person, expiresAt: EXPIRY, scopes: [DRIVE, 'openid'], claims: undefined }],
    ['oauth2client-google', { ...person, expiresAt: EXPIRY, scopes: [] }],
    ['oauth2client-no-expiry', { ...person, expiresAt: undefined }],
    ['oauth2client-no-refresh', { ...person, refreshToken: undefined, scopes: ['openid'] }],
    ['oauth2client-access-token', { accessToken: 'access-canary', refreshToken: undefined, clientId: undefined }],
  ])('%s', (name, expected) => {
    expect({ ...Credentials.fromOAuth2Client(fixture(name)) }).toMatchObject(expected)
    expect({ ...Credentials.fromOAuth2Client(JSON.parse(fixture(name))) }).toMatchObject(expected)
  })

  test.each([
    ['2026-11-21T14:00:00+05:30', '2026-11-21T08:30:00.000Z'],
    ['2026-11-21T14:00:00+0530', '2026-11-21T08:30:00.000Z'],
    ['2026-11-21 14:00:00.123456-0800', '2026-11-21T22:00:00.123Z'],
    ['2026-11-21T14:00:00', '2026-11-21T14:00:00.000Z'],
    ['2026-11-21T14:00:00Z\n', '2026-11-21T14:00:00.000Z'],
  ])('the expiry %j is %s', (token_expiry, at) => {
    const { expiresAt } = Credentials.fromOAuth2Client(withMembers('oauth2client-full', { token_expiry }))
    expect(expiresAt).toBe(Date.parse(at))
  })

  test.each([[undefined], [null], ['soon'], [5], ['2026-99-99T00:00:00Z'], ['2026-11-21T14:00:00 PST']])(
    'CL-13: an expiry of %o is an unknown one, not an error',
    (token_expiry) => {
      expect(Credentials.fromOAuth2Client(withMembers('oauth2client-full', { token_expiry })).expiresAt).toBeUndefined()
    },
  )

  test('marked as invalid, with a refresh token: comes as expired, so that the provider has the last word', () => {
    const credentials = Credentials.fromOAuth2Client(fixture('oauth2client-invalid'))
    expect(credentials).toMatchObject({ ...person, expiresAt: 0, scopes: [DRIVE] })
  })

  test('marked as invalid, without one: of no use, and refused', () => {
    expect(() => Credentials.fromOAuth2Client(fixture('oauth2client-invalid-no-refresh'))).toThrow(invalid(/invalid/))
    const token = withMembers('oauth2client-access-token', { invalid: true })
    expect(() => Credentials.fromOAuth2Client(token)).toThrow(invalid(/cannot be refreshed/))
  })

  test('a refresh token alone is enough, and what stands for the access token is never current', () => {
    const credentials = Credentials.fromOAuth2Client(withMembers('oauth2client-full', { access_token: null }))
    expect(credentials).toMatchObject({ refreshToken: 'refresh-canary', expiresAt: 0 })
    expect(credentials.isExpired(0)).toBe(true)
  })

  test('releases before 4: the ID token is in the member of the claims, the package has another path', () => {
    const old = { id_token: 'raw.id.token', id_token_jwt: undefined, _module: 'oauth2client.googleapiclient.client' }
    const credentials = Credentials.fromOAuth2Client(withMembers('oauth2client-full', old))
    expect(credentials).toMatchObject({ idToken: 'raw.id.token', claims: undefined, userId: undefined })
  })

  test.each([
    ['a service account', fixture('oauth2client-service-account'), /serviceAccountCredentials of fastify-oauth2client/],
    ['a class of somebody else', withMembers('oauth2client-full', { _module: 'os', _class: 'system' }), /not known/],
    ['a class like ours', withMembers('oauth2client-full', { _class: 'MyCredentials' }), /not known/],
    ['a module like ours', withMembers('oauth2client-full', { _module: 'evil.oauth2client.client' }), /not known/],
    ['no class', withMembers('oauth2client-full', { _class: undefined }), /"_class" and "_module" are missing/],
    ['what google-auth wrote', fixture('google-auth-full'), /Use Credentials\.fromAuthorizedUser/],
    ['what serialize() wrote', new Credentials({ accessToken: 'a' }).serialize(), /Use Credentials\.fromJSON/],
    ['a client secrets file', '{"web":{"client_secret":"client-secret-canary"}}', /client secrets file/],
    ['no tokens', withMembers('oauth2client-full', { access_token: null, refresh_token: null }), /neither/],
    [
      'a number for a token',
      withMembers('oauth2client-full', { refresh_token: 5 }),
      /"refresh_token" must be a string/,
    ],
    ['scopes of another type', withMembers('oauth2client-google', { scopes: [5] }), /"scopes"/],
    ['a pickle', '(ioauth2client.client\nOAuth2Credentials', /not JSON/],
    ['a list', '[]', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
  ])('CL-3: %s is refused, and the message holds no secret', (_name, json, message) => {
    const importing = () => Credentials.fromOAuth2Client(json)
    expect(importing).toThrow(invalid(message))
    expect(importing).not.toThrow(/canary/)
  })

  test('nothing of the client secret is left in what comes of it', () => {
    for (const name of ['oauth2client-full', 'oauth2client-google']) {
      expect(Credentials.fromOAuth2Client(fixture(name)).serialize()).not.toContain('client-secret-canary')
    }
    expect(Credentials.fromAuthorizedUser(fixture('google-auth-full')).serialize()).not.toContain('secret-canary')
  })
})

describe('Credentials.fromAuthorizedUser', () => {
  test.each([
    ['google-auth-full', { ...person, expiresAt: EXPIRY, scopes: ['openid', DRIVE], email: 'alice@example.com' }],
    ['google-auth-microseconds', { ...person, expiresAt: EXPIRY + 123, scopes: [], email: undefined }],
    ['google-auth-no-expiry', { ...person, expiresAt: 0, scopes: [DRIVE] }],
    ['google-auth-no-token', { refreshToken: 'refresh-canary', clientId: CLIENT, expiresAt: 0, scopes: [DRIVE] }],
  ])('%s', (name, expected) => {
    expect({ ...Credentials.fromAuthorizedUser(fixture(name)) }).toMatchObject(expected)
  })

  test('what gcloud writes: no access token, no scopes', () => {
    const gcloud = { type: 'authorized_user', client_id: CLIENT, client_secret: 's', refresh_token: 'refresh-canary' }
    const credentials = Credentials.fromAuthorizedUser({ ...gcloud, quota_project_id: 'p', account: '' })
    expect(credentials).toMatchObject({ refreshToken: 'refresh-canary', clientId: CLIENT, expiresAt: 0, scopes: [] })
  })

  test.each([
    ['a service account', { type: 'service_account', private_key: 'key-canary' }, /serviceAccountCredentials/],
    ['workload identity', { type: 'external_account', audience: 'canary' }, /applicationDefaultCredentials/],
    ['what oauth2client wrote', JSON.parse(fixture('oauth2client-full')), /Use Credentials\.fromOAuth2Client/],
    ['a client secrets file', { installed: { client_secret: 'canary' } }, /clientSecretsFile/],
    ['no client', { refresh_token: 'refresh-canary' }, /lacks "client_id"/],
    ['nothing', {}, /lacks "client_id" and "refresh_token"/],
  ])('%s is refused, and the message holds no secret', (_name, json, message) => {
    const importing = () => Credentials.fromAuthorizedUser(json)
    expect(importing).toThrow(invalid(message))
    expect(importing).not.toThrow(/canary/)
  })
})

describe('what was imported goes on here', () => {
  const provider = new StrictProvider()
  beforeAll(() => provider.listen())
  afterAll(() => provider.close())

  const managerOf = () =>
    new CredentialManager({
      ...provider.options,
      storage: memoryStore(),
      encryptionKeys: 'a-key-that-is-long-enough-for-this',
    })

  test.each([
    [
      'oauth2client',
      (refresh_token: string) =>
        Credentials.fromOAuth2Client(
          withMembers('oauth2client-invalid', { refresh_token, client_id: provider.clientId }),
        ),
    ],
    [
      'google-auth, without an access token',
      (refresh_token: string) =>
        Credentials.fromAuthorizedUser(
          withMembers('google-auth-no-token', { refresh_token, client_id: provider.clientId }),
        ),
    ],
  ])('%s: adopted, and the first use refreshes', async (_name, imported) => {
    const family = provider.authorize('alice')
    const manager = managerOf()
    const alice = await manager.user('alice')
    await alice.adopt(imported(family.refreshToken))
    expect((await (await manager.user('alice')).getAccessToken()).token).toBe(family.accessToken)
    expect(family.end).toBeUndefined()
    await manager.close()
  })

  test('of another client: refused, and nothing is sent', async () => {
    const manager = managerOf()
    const alice = await manager.user('alice')
    const before = provider.received.length
    await expect(alice.adopt(Credentials.fromOAuth2Client(fixture('oauth2client-full')))).rejects.toMatchObject({
      code: 'FST_OAUTH2_CLIENT_MISMATCH',
    })
    expect(provider.received.length).toBe(before)
    await manager.close()
  })
})
