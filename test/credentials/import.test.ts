/** Credentials that other programs wrote. Those of Python in test/fixtures/python are real, from the script beside them. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import { CredentialsInvalidError } from '../../src/errors.js'
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

describe('Credentials.fromTokenResponse', () => {
  const idToken = (claims: object) =>
    `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature-canary`
  const answer = {
    access_token: 'access-canary',
    refresh_token: 'refresh-canary',
    token_type: 'bearer',
    scope: 'files',
  }

  test('tokens, scopes as granted, and who it is: of the ID token, or as told', () => {
    const id_token = idToken({ sub: 'sub-alice', email: 'alice@example.com' })
    const whole = { ...answer, id_token, expires_at: EXPIRY / 1_000, expires_in: 3_599 }
    const expected = {
      accessToken: 'access-canary',
      refreshToken: 'refresh-canary',
      tokenType: 'Bearer',
      expiresAt: EXPIRY,
      scopes: ['files', 'openid'],
      idToken: id_token,
      claims: { sub: 'sub-alice', email: 'alice@example.com' },
      userId: 'sub-alice',
      email: 'alice@example.com',
      issuer: undefined,
      clientId: undefined,
    }
    expect({ ...Credentials.fromTokenResponse(whole) }).toMatchObject(expected)
    expect({ ...Credentials.fromTokenResponse(JSON.stringify(whole)) }).toMatchObject(expected)
    const told = {
      userId: 'sub-alice',
      email: 'a@example.com',
      clientId: CLIENT,
      issuer: 'https://a.example',
      scopes: ['other'],
    }
    expect({ ...Credentials.fromTokenResponse(whole, told) }).toMatchObject({ ...told, scopes: ['files', 'openid'] })
    expect({ ...Credentials.fromTokenResponse({ ...answer, scope: null }, told) }).toMatchObject(told)
  })

  test.each<[string, object]>([
    ['seconds', { expires_at: EXPIRY / 1_000 }],
    ['seconds, as drivers give large numbers', { expires_at: String(EXPIRY / 1_000) }],
    ['seconds, as a bigint', { expires_at: BigInt(EXPIRY / 1_000) }],
    ['milliseconds', { expires_at: EXPIRY }],
    ['milliseconds, of google-auth-library', { expiry_date: EXPIRY }],
    ['a date', { expires_at: new Date(EXPIRY) }],
    ['the JSON of a date', { expires_at: new Date(EXPIRY).toJSON() }],
  ])('when the access token expires: %s', (_name, members) => {
    expect(Credentials.fromTokenResponse({ ...answer, ...members }).expiresAt).toBe(EXPIRY)
  })

  test.each<[string, object]>([
    ['nothing', {}],
    ['how long it lived, and not since when', { expires_in: 3_600 }],
    ['no time', { expires_at: 'soon' }],
    ['an invalid date', { expires_at: new Date(Number.NaN) }],
    ['null, as columns have it', { expires_at: null }],
  ])('an access token of unknown age is refreshed first, if it can be: %s', (_name, members) => {
    expect(Credentials.fromTokenResponse({ ...answer, ...members }).expiresAt).toBe(0)
    const alone = Credentials.fromTokenResponse({ ...answer, ...members, refresh_token: null })
    expect([alone.accessToken, alone.expiresAt]).toEqual(['access-canary', undefined])
  })

  test('a refresh token alone will do', () => {
    const credentials = Credentials.fromTokenResponse({ refresh_token: 'refresh-canary' }, { userId: '7' })
    expect([credentials.isExpired(), credentials.refreshToken, credentials.userId]).toEqual([
      true,
      'refresh-canary',
      '7',
    ])
  })

  test('an ID token of another provider, for another client or of somebody else is no ground for sending anything', async () => {
    const manager = new CredentialManager({
      provider: { issuer: 'https://issuer.example' },
      clientId: 'client',
      storage: memoryStore(),
      encryptionKeys: 'k'.repeat(32),
    })
    const user = await manager.user('alice')
    const ours = { iss: 'https://issuer.example', aud: 'client', sub: '7' }
    const adopt = async (claims: object) =>
      user.adopt(Credentials.fromTokenResponse({ ...answer, id_token: idToken(claims) }))
    for (const other of [{ iss: 'https://other.example' }, { aud: 'another-client' }])
      await expect(adopt({ ...ours, ...other })).rejects.toMatchObject({ code: 'FST_OAUTH2_CLIENT_MISMATCH' })
    await adopt(ours)
    expect(user.userId).toBe('7')
    expect(() => Credentials.fromTokenResponse({ ...answer, id_token: idToken(ours) }, { userId: '8' })).toThrow(
      CredentialsInvalidError,
    )
  })

  test.each(['not-a-jwt', 'a.b.c', `a.${Buffer.from('[]').toString('base64url')}.c`])(
    'an ID token that cannot be read is left out: %s',
    (id_token) => {
      expect({ ...Credentials.fromTokenResponse({ ...answer, id_token }) }).toMatchObject({
        idToken: undefined,
        claims: undefined,
        userId: undefined,
        scopes: ['files'],
      })
    },
  )

  test.each<[string, string | Record<string, unknown>, RegExp]>([
    ['no tokens', {}, /lacks "access_token"/],
    ['the object around it', { token: answer }, /lacks "access_token"/],
    ['a refusal', { error: 'invalid_grant' }, /lacks "access_token"/],
    ['a key of a service account', { type: 'service_account' }, /service account's key/],
    ['what oauth2client wrote', { _class: 'OAuth2Credentials' }, /fromOAuth2Client/],
    ['a token that is no text', { access_token: 7 }, /"access_token" must be a string/],
    ['no JSON', 'access_token=x', /not JSON/],
    ['a token that is bound to a key', { ...answer, token_type: 'DPoP' }, /without its dpopKey/],
    ['scopes that are none', { ...answer, scope: 7 }, /"scopes" must be a list/],
  ])('what is none is refused, without its secrets: %s', (_name, json, message) => {
    expect(() => Credentials.fromTokenResponse(json)).toThrow(invalid(message))
    expect(() => Credentials.fromTokenResponse(json)).not.toThrow(/canary/)
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
