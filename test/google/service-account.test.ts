import { createVerify } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { jwtVerify } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { serviceAccountCredentials } from '../../src/google/index.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { EMAIL, type LocalServer, makeKey, serve, startTokenServer, type TokenServer } from './key.js'

const HOUR = 3_600_000
const DRIVE = 'https://www.googleapis.com/auth/drive.readonly'
const key = makeKey()
const other = makeKey()

let clock: FakeClock
let server: TokenServer
let directory: string
const json = (members: object = {}) => ({ ...key.json, token_uri: `${server.origin}/token`, ...members })

beforeEach(async () => {
  clock = fakeClock()
  server = await startTokenServer(key.publicKey, () => clock.now())
})
afterEach(() => server.close())
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'service-account-'))
})
afterAll(() => rm(directory, { recursive: true }))

const make = (options: object = {}, members: object = {}) =>
  serviceAccountCredentials({ credentials: json(members), scopes: DRIVE, clock: clock.now, ...options })
const refused = (message: RegExp) =>
  expect.objectContaining({ code: 'FST_OAUTH2_GOOGLE_CREDENTIALS', message: expect.stringMatching(message) })

describe('the key', () => {
  test('comes from a file, an object or a stream', async () => {
    const keyFile = join(directory, 'key.json')
    await writeFile(keyFile, `\uFEFF${JSON.stringify(json())}`)
    const stream = Readable.from([Buffer.from(JSON.stringify(json()).slice(0, 50)), JSON.stringify(json()).slice(50)])
    for (const source of [{ keyFile }, { credentials: json() }, { stream }]) {
      const credentials = await serviceAccountCredentials({ ...source, scopes: DRIVE, clock: clock.now })
      expect(credentials).toMatchObject({ email: EMAIL, keyId: 'key-1', projectId: 'project', scopes: [DRIVE] })
      expect((await credentials.getAccessToken()).token).toMatch(/^token-/)
    }
  })

  test('SA-1: the token endpoint is the argument, else the file’s, else Google’s', async () => {
    const argument = await startTokenServer(key.publicKey, clock.now)
    await (await make({ tokenUri: argument.origin })).getAccessToken()
    await (await make()).getAccessToken()
    expect([argument.assertions.length, server.assertions.length]).toEqual([1, 1])
    const asked: string[] = []
    const fetch = async (input: unknown) => {
      asked.push(String(input))
      return Response.json({ access_token: 'x' })
    }
    await (await make({ fetch }, { token_uri: undefined })).getAccessToken()
    expect(asked).toEqual(['https://oauth2.googleapis.com/token'])
    await argument.close()
  })

  test.each([
    ['SA-1: another type', { type: 'authorized_user' }, /credentials is of type "authorized_user"/],
    ['SA-1: no type', { type: undefined }, /without a "type"/],
    ['SA-1: members missing', { client_email: '', private_key_id: 5 }, /lacks "client_email", "private_key_id"\./],
    ['no PEM', { private_key: 'canary' }, /"private_key" in credentials is not a private key/],
    ['plain HTTP', { token_uri: 'http://evil.example/token' }, /must be an HTTPS URL/],
  ])('%s: says so', async (_name, members, message) => {
    await expect(make({}, members)).rejects.toEqual(refused(message))
    await expect(make({}, members)).rejects.not.toThrow(/canary/)
  })

  test('a file that is missing or no JSON is named; what it says is not', async () => {
    const keyFile = join(directory, 'broken.json')
    await expect(serviceAccountCredentials({ keyFile })).rejects.toEqual(
      refused(/broken\.json cannot be read \(ENOENT\)/),
    )
    await writeFile(keyFile, '{"private_key": "canary')
    const error: unknown = await serviceAccountCredentials({ keyFile }).catch((thrown) => thrown)
    expect(error).toEqual(refused(/broken\.json is not JSON/))
    expect(inspect(error)).not.toContain('canary')
  })

  test('neither none nor two', async () => {
    await expect(serviceAccountCredentials({ scopes: DRIVE })).rejects.toThrow(/Option "keyFile"/)
    await expect(make({ keyFile: 'x' })).rejects.toThrow(/Option "keyFile"/)
  })

  test('does not show', async () => {
    const credentials = await make()
    await credentials.getAccessToken()
    for (const text of [JSON.stringify(credentials), inspect(credentials, { depth: 9, showHidden: true })]) {
      expect(text).not.toContain('PRIVATE KEY')
      expect(text).not.toContain('token-1')
    }
  })
})

describe('tokens from Google', () => {
  test('the assertion says who, for what, for whom and how long', async () => {
    await (await make({ subject: 'alice@example.com', claims: { extra: 1 } })).getAccessToken()
    const iat = Math.floor(clock.now() / 1000)
    expect(server.assertions).toEqual([
      {
        header: { alg: 'RS256', typ: 'JWT', kid: 'key-1' },
        claims: {
          ...{ iss: EMAIL, aud: `${server.origin}/token`, scope: DRIVE, sub: 'alice@example.com', extra: 1 },
          ...{ iat, exp: iat + 3600 },
        },
      },
    ])
  })

  test('SA-4: one request for everybody; none within the lifetime; one after it', async () => {
    const credentials = await make()
    const tokens = await Promise.all(Array.from({ length: 8 }, () => credentials.getAccessToken()))
    expect(new Set(tokens.map(({ token }) => token))).toEqual(new Set(['token-1']))
    expect(tokens[0]).toEqual({ token: 'token-1', expiresAt: clock.now() + HOUR, scopes: [DRIVE] })
    clock.advance(HOUR - 61_000)
    expect((await credentials.getAccessToken()).token).toBe('token-1')
    clock.advance(61_000)
    expect((await credentials.getAccessToken()).token).toBe('token-2')
    expect(server.assertions.length).toBe(2)
  })

  test('a rejected token is replaced once, whoever says so how often', async () => {
    const credentials = await make()
    await credentials.getAccessToken()
    const renewed = await Promise.all(
      Array.from({ length: 8 }, () => credentials.getAccessToken({ rejected: 'token-1' })),
    )
    expect(new Set(renewed.map(({ token }) => token))).toEqual(new Set(['token-2']))
    expect((await credentials.getAccessToken({ rejected: 'token-1' })).token).toBe('token-2')
    expect(server.assertions.length).toBe(2)
  })

  test('SA-2: other scopes, subjects and claims make others of it, and leave it alone', async () => {
    const robot = await make()
    const alice = robot.withScopes('a b').withSubject('alice@example.com')
    const bob = alice.withSubject('bob@example.com').withClaims({ x: 1 })
    for (const each of [robot, alice, bob]) await each.getAccessToken()
    expect(server.assertions.map(({ claims: { scope, sub, x } }) => ({ scope, sub, x }))).toEqual([
      { scope: DRIVE },
      { scope: 'a b', sub: 'alice@example.com' },
      { scope: 'a b', sub: 'bob@example.com', x: 1 },
    ])
    expect([robot.scopes, robot.subject, alice.subject]).toEqual([[DRIVE], undefined, 'alice@example.com'])
  })

  test('a refusal names the error code and nothing else; an outage is another error', async () => {
    const credentials = await make()
    server.instead.push({ status: 400, body: { error: 'invalid_grant', error_description: 'canary' } })
    await expect(credentials.getAccessToken()).rejects.toEqual(
      refused(/refuses them \(invalid_grant\)\. Is the key deleted/),
    )
    server.instead.push({ status: 403, body: { error: 'canary <script>' } })
    await expect(credentials.getAccessToken()).rejects.toEqual(refused(/refuses them \(HTTP 403\)\./))
    server.instead.push({ body: { id_token: 'canary' } })
    await expect(credentials.getAccessToken()).rejects.toEqual(refused(/has no access token/))
    for (const outage of [{ status: 503 }, { status: 429 }, 'drop'] as const) {
      server.instead.push(outage)
      await expect(credentials.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
    }
    // Nothing of it is remembered.
    expect((await credentials.getAccessToken()).token).toMatch(/^token-/)
  })
})

describe('fetch', () => {
  let api: LocalServer
  let accepted: string
  beforeEach(async () => {
    api = await serve(({ headers }) => ({ status: headers.authorization === `Bearer ${accepted}` ? 200 : 401 }))
  })
  afterEach(() => api.close())

  test('SA-6: a 401 makes one new token, and the call is made again', async () => {
    accepted = 'token-2'
    const credentials = await make({ allowedOrigins: [api.origin], quotaProjectId: 'billed' })
    const response = await credentials.fetch(`${api.origin}/files`, { method: 'POST', body: 'x', headers: { a: 'b' } })
    expect(response.status).toBe(200)
    expect(
      api.received.map(({ body, headers: { a, authorization, 'x-goog-user-project': p } }) => [
        body,
        a,
        p,
        authorization,
      ]),
    ).toEqual([
      ['x', 'b', 'billed', 'Bearer token-1'],
      ['x', 'b', 'billed', 'Bearer token-2'],
    ])
  })

  test('the token goes to Google’s APIs and nowhere else', async () => {
    const credentials = await make()
    for (const url of [
      api.origin,
      'https://evil.example',
      'http://www.googleapis.com',
      'https://googleapis.com.evil.example',
    ]) {
      await expect(credentials.fetch(url)).rejects.toMatchObject({ code: 'FST_OAUTH2_ORIGIN_NOT_ALLOWED' })
    }
    expect(server.assertions.length).toBe(0)
    expect(credentials.allowedOrigins).toEqual(['https://*.googleapis.com'])
    expect((await make({ universeDomain: 'example.cloud' })).allowedOrigins).toEqual(['https://*.example.cloud'])
  })
})

describe('self-signed tokens', () => {
  const verify = async (token: string) =>
    (await jwtVerify(token, key.publicKey, { currentDate: new Date(clock.now()) })).payload

  test('SA-5: with an audience: the same one 100 s later, a new one past an hour and after a 401; nobody is asked', async () => {
    const audience = 'https://pubsub.googleapis.com/'
    const credentials = await make({ selfSigned: true, audience, scopes: undefined })
    const first = await credentials.getAccessToken()
    expect(await verify(first.token)).toMatchObject({ iss: EMAIL, sub: EMAIL, aud: audience })
    clock.advance(100_000)
    expect(await credentials.getAccessToken()).toEqual(first)
    const second = await credentials.getAccessToken({ rejected: first.token })
    const third = await credentials.getAccessToken({ rejected: second.token })
    expect(new Set([first.token, second.token, third.token]).size).toBe(3)
    clock.advance(HOUR)
    expect((await credentials.getAccessToken()).token).not.toBe(third.token)
    expect(server.assertions.length).toBe(0)
  })

  test('with scopes: no audience', async () => {
    const { token, scopes, expiresAt } = await (await make({ selfSigned: true })).getAccessToken()
    expect(await verify(token)).toMatchObject({ scope: DRIVE, exp: (expiresAt ?? 0) / 1000 })
    expect((await verify(token)).aud).toBeUndefined()
    expect(scopes).toEqual([DRIVE])
  })

  test('SA-5: with neither: fetch signs one for each origin, and getAccessToken says what is missing', async () => {
    const api = await serve(() => ({}))
    const credentials = await make({ selfSigned: true, scopes: undefined, allowedOrigins: [api.origin] })
    await expect(credentials.getAccessToken()).rejects.toThrow(/Option "audience"/)
    await credentials.fetch(`${api.origin}/a?secret=1`)
    await credentials.fetch(`${api.origin}/b`)
    const tokens = api.received.map(({ headers }) => String(headers.authorization).slice('Bearer '.length))
    expect(tokens[0]).toBe(tokens[1])
    expect((await verify(tokens[0] as string)).aud).toBe(`${api.origin}/`)
    await api.close()
  })

  test('in another universe there is no other way', async () => {
    const credentials = await make({}, { universe_domain: 'example.cloud' })
    expect(credentials).toMatchObject({ selfSigned: true, universeDomain: 'example.cloud' })
    await credentials.getAccessToken()
    expect(server.assertions.length).toBe(0)
  })

  test('not for somebody else', async () => {
    await expect(make({ selfSigned: true, subject: 'alice@example.com' })).rejects.toThrow(/Option "subject"/)
    await expect(make({ audience: 'https://x.googleapis.com/' })).rejects.toThrow(/Option "audience"/)
  })
})

test('SA-3: signs bytes; the signature is of these bytes and this key', async () => {
  const { keyId, signature } = await (await make()).sign(Buffer.from('to sign'))
  expect(keyId).toBe('key-1')
  const verifies = (text: string, { publicKey }: typeof key) =>
    createVerify('RSA-SHA256').update(text).verify(publicKey, signature)
  expect([verifies('to sign', key), verifies('other', key), verifies('to sign', other)]).toEqual([true, false, false])
  expect((await (await make()).sign('to sign')).signature).toEqual(signature)
})
