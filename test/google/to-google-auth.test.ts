/** API clients of Google, unmodified, over credentials of ours. */
import { Readable } from 'node:stream'
import { drive, auth as driveAuth } from '@googleapis/drive'
import { GoogleAuth, OAuth2Client } from 'google-auth-library'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CredentialManager, Credentials, type TokenSource } from '../../src/credentials/index.js'
import { serviceAccountCredentials, toGoogleAuth } from '../../src/google/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { StrictProvider } from '../helpers/strict-provider.js'
import { type LocalServer, makeKey, serve, startTokenServer } from './key.js'

let api: LocalServer
/** Whether the API takes a token. */
let accepts: (token: string) => boolean
/** Answers in the place of the API's own. */
let instead: { status: number; body?: unknown }[]

beforeEach(async () => {
  accepts = () => true
  instead = []
  api = await serve(({ headers }) => {
    const token = String(headers.authorization).replace('Bearer ', '')
    if (instead.length > 0) return instead.shift()!
    return accepts(token)
      ? { body: { files: [{ id: '1', name: token }] } }
      : { status: 401, body: { error: { code: 401 } } }
  })
})
afterEach(() => api.close())

const listWith = (auth: unknown, options: object = {}) =>
  drive({ version: 'v3', rootUrl: `${api.origin}/`, auth: auth as string, retry: false, ...options }).files.list()
const bearers = () => api.received.map(({ headers }) => headers.authorization)

/** A source that counts, for what has nothing to do with where tokens come from. */
function counting(): TokenSource & { rejected: (string | undefined)[]; failure?: unknown } {
  let count = 1
  const source: ReturnType<typeof counting> = {
    rejected: [],
    async getAccessToken({ rejected } = {}) {
      if (rejected !== undefined) {
        source.rejected.push(rejected)
        if (source.failure) throw source.failure
        if (rejected === `t${count}`) count++
      }
      return { token: `t${count}`, expiresAt: undefined, scopes: [] }
    },
  }
  return source
}

describe('a person’s stored credentials', () => {
  const provider = new StrictProvider()
  let clock: FakeClock
  let manager: CredentialManager
  beforeAll(() => provider.listen())
  afterAll(() => provider.close())
  beforeEach(() => {
    clock = fakeClock()
    const options = { ...provider.options, storage: memoryStore(), clock: clock.now }
    manager = new CredentialManager({ ...options, encryptionKeys: 'a-key-that-is-long-enough-for-this-test' })
  })
  afterEach(() => manager.close())

  async function signedIn(user: string, expiresAt: number) {
    const family = provider.authorize(user)
    const { accessToken, refreshToken } = family
    const adopting = await manager.user(user)
    await adopting.adopt(new Credentials({ accessToken, refreshToken, expiresAt, userId: user }))
    return family
  }

  test('lists files through expiry, a 401 and a rotation; each refresh token is sent once', async () => {
    const family = await signedIn('alice', clock.now() + 600_000)
    const auth = toGoogleAuth(await manager.user('alice'))
    const seen = [family.accessToken]
    accepts = (token) => token === family.accessToken
    const list = async () => (await listWith(auth)).data.files?.[0]?.name

    expect(await list()).toBe(seen[0])
    // Expiry.
    clock.advance(700_000)
    expect(await list()).toBe(family.accessToken)
    seen.push(family.accessToken)
    // The API has forgotten a token that is not old.
    const forgotten = seen[1] as string
    accepts = (token) => token === family.accessToken && token !== forgotten
    expect(await list()).toBe(family.accessToken)
    seen.push(family.accessToken)
    // Each of these rotated the refresh token, and the next one used what that brought.
    clock.advance(4_000_000)
    expect(await list()).toBe(family.accessToken)
    seen.push(family.accessToken)

    expect(new Set(seen).size).toBe(4)
    expect(family.end).toBeUndefined()
    expect(provider.reused).toEqual([])
    // What was rotated is stored: another process goes on from there.
    clock.advance(4_000_000)
    expect((await (await manager.user('alice')).getAccessToken()).token).toBe(family.accessToken)
    expect(family.end).toBeUndefined()
  })

  test('eight calls that meet a 401 at once make one refresh', async () => {
    const family = await signedIn('bob', clock.now() + 600_000)
    const first = family.accessToken
    accepts = (token) => token !== first
    const auth = toGoogleAuth(await manager.user('bob'))
    const before = provider.received.length
    await Promise.all(Array.from({ length: 8 }, () => listWith(auth)))
    expect(provider.received.length - before).toBe(1)
    expect(api.received.length).toBe(16)
  })

  test('credentials that end are an error that a guard answers', async () => {
    const family = await signedIn('carol', clock.now() + 600_000)
    const auth = toGoogleAuth(await manager.user('carol'))
    family.end = 'revoked'
    accepts = () => false
    await expect(listWith(auth)).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', statusCode: 401 })
  })
})

test('a service account of ours lists files too, with its quota project', async () => {
  const key = makeKey()
  const server = await startTokenServer(key.publicKey)
  const robot = await serviceAccountCredentials({
    credentials: { ...key.json, token_uri: server.origin, quota_project_id: 'billed' },
    scopes: 'files.read',
  })
  accepts = (token) => token === 'token-2'
  expect((await listWith(toGoogleAuth(robot))).data.files).toEqual([{ id: '1', name: 'token-2' }])
  expect(api.received.map(({ headers }) => headers['x-goog-user-project'])).toEqual(['billed', 'billed'])
  await server.close()
})

describe('what the API answers', () => {
  test('403 is not a reason to refresh', async () => {
    const source = counting()
    instead = [{ status: 403 }]
    await expect(listWith(toGoogleAuth(source))).rejects.toMatchObject({ status: 403 })
    expect([source.rejected, api.received.length]).toEqual([[], 1])
  })

  test('401 after 401 is the answer, and for a minute no more tokens are made for that', async () => {
    const source = counting()
    accepts = () => false
    const auth = toGoogleAuth(source)
    await expect(listWith(auth)).rejects.toMatchObject({ status: 401 })
    await expect(listWith(auth)).rejects.toMatchObject({ status: 401 })
    expect(source.rejected).toEqual(['t1'])
    expect(bearers()).toEqual(['Bearer t1', 'Bearer t2', 'Bearer t2'])
  })

  test('when no new token can be had, the API’s own 401 says more than the outage', async () => {
    const source = counting()
    source.failure = Object.assign(new Error('down'), { statusCode: 503 })
    accepts = () => false
    await expect(listWith(toGoogleAuth(source))).rejects.toMatchObject({ status: 401 })
  })

  test('the body of a call is sent again as it was; a stream is not', async () => {
    const source = counting()
    const auth = toGoogleAuth(source)
    const files = drive({ version: 'v3', rootUrl: `${api.origin}/`, auth, retry: false }).files
    accepts = (token) => token === 't2'
    await files.create({ requestBody: { name: 'a' } })
    expect(api.received.map(({ body }) => body)).toEqual(['{"name":"a"}', '{"name":"a"}'])
    accepts = (token) => token === 't3'
    const upload = { url: `${api.origin}/upload`, method: 'POST', data: Readable.from(['x']) }
    await expect(auth.request(upload)).rejects.toMatchObject({ status: 401 })
    expect(source.rejected).toEqual(['t1'])
  })

  test('files can be downloaded as streams, as before', async () => {
    const auth = toGoogleAuth(counting())
    const files = drive({ version: 'v3', rootUrl: `${api.origin}/`, auth, retry: false }).files
    accepts = (token) => token === 't2'
    const { data } = await files.get({ fileId: '1', alt: 'media' }, { responseType: 'stream' })
    let text = ''
    for await (const chunk of data) text += chunk
    expect(text).toContain('t2')
  })

  test('errors of the API hold no token', async () => {
    instead = [{ status: 500 }]
    const error: unknown = await listWith(toGoogleAuth(counting())).catch((thrown) => thrown)
    expect(JSON.stringify(error)).not.toContain('Bearer t1')
  })
})

describe('what is sent where', () => {
  test('the quota project, unless the call has its own', async () => {
    const auth = toGoogleAuth(counting(), { quotaProjectId: 'mine' })
    await listWith(auth)
    await listWith(auth, { headers: { 'x-goog-user-project': 'theirs' } })
    expect(api.received.map(({ headers }) => headers['x-goog-user-project'])).toEqual(['mine', 'theirs'])
  })

  test('the universe of the credentials has to be the API client’s', async () => {
    const auth = toGoogleAuth(counting(), { universeDomain: 'example.cloud' })
    await expect(listWith(auth)).rejects.toThrow(/universe domain/)
    expect((await listWith(auth, { universeDomain: 'example.cloud' })).status).toBe(200)
    expect(api.received.length).toBe(1)
  })

  test('L6: a token that is bound to a key is not sent as if it were not', async () => {
    const source = {
      getAccessToken: async () => ({ token: 'at', tokenType: 'DPoP', expiresAt: undefined, scopes: [] }),
    }
    const files = drive({ version: 'v3', auth: toGoogleAuth(source) })
    await expect(files.files.list()).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  })

  test('no token goes over plain HTTP, nor where it is not allowed', async () => {
    const refused = { code: 'FST_OAUTH2_ORIGIN_NOT_ALLOWED' }
    await expect(listWith(toGoogleAuth(counting()), { rootUrl: 'http://evil.example/' })).rejects.toMatchObject(refused)
    const narrow = toGoogleAuth(counting(), { allowedOrigins: ['https://*.googleapis.com'] })
    await expect(listWith(narrow)).rejects.toMatchObject(refused)
    await expect(narrow.getRequestHeaders('https://evil.example/')).rejects.toMatchObject(refused)
    expect(api.received.length).toBe(0)
  })
})

describe('as the library’s own', () => {
  test('GoogleAuth, as gRPC clients use it, takes it', async () => {
    const auth = new GoogleAuth({ authClient: toGoogleAuth<OAuth2Client>(counting()) })
    expect(await auth.getAccessToken()).toBe('t1')
    expect((await auth.getRequestHeaders('https://x.googleapis.com')).get('authorization')).toBe('Bearer t1')
    expect((await auth.request({ url: `${api.origin}/x` })).data).toEqual({ files: [{ id: '1', name: 't1' }] })
  })

  test('over the class of the API’s own package: an instance of it, with the same behaviour', async () => {
    const source = counting()
    accepts = (token) => token === 't2'
    const auth = toGoogleAuth(source, { AuthClient: driveAuth.OAuth2 })
    expect(auth).toBeInstanceOf(driveAuth.OAuth2)
    expect(auth).not.toBeInstanceOf(OAuth2Client)
    expect((await listWith(auth)).data.files).toHaveLength(1)
    expect(source.rejected).toEqual(['t1'])
  })

  test('callbacks, for callers from the time of callbacks', async () => {
    const auth = toGoogleAuth<OAuth2Client>(counting())
    const status = await new Promise((resolve) =>
      auth.request({ url: api.origin }, (_error, response) => resolve(response?.status)),
    )
    instead = [{ status: 404 }]
    const failed = await new Promise((resolve) =>
      auth.request({ url: api.origin }, (error, response) =>
        resolve([(error as { status?: number }).status, response?.status]),
      ),
    )
    expect([status, failed]).toEqual([200, [404, 404]])
  })

  test('something that is no source of tokens is refused at once', () => {
    expect(() => toGoogleAuth({} as TokenSource)).toThrow(/Option "source"/)
  })
})
