import { createHmac, createPublicKey } from 'node:crypto'
import { inspect } from 'node:util'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Provider, type VerifyIdTokenOptions, verifyIdToken } from '../../src/flows/index.js'
import type { IdTokenProblem, ProviderOptions } from '../../src/index.js'
import { google, microsoft } from '../../src/provider/presets/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

async function provided(options: Partial<ProviderOptions> = {}) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const clock = fakeClock(1_800_000_000_000)
  const now = clock.now() / 1000
  const provider = new Provider({
    provider: { issuer: server.issuer, ...options },
    clientId: server.clientId,
    clock: clock.now,
    timeout: 500,
  })
  const claims: JWTPayload = { iss: server.issuer, aud: server.clientId, sub: 'alice', iat: now, exp: now + 3600 }
  /** The reason that a token is refused for, or the subject of whom it is accepted for. */
  const verdict = (token: string, more: VerifyIdTokenOptions = {}) => verdictOf(provider, token, more)
  return { server, clock, now, provider, claims, verdict }
}

async function verdictOf(provider: Provider, token: string, options: VerifyIdTokenOptions = {}): Promise<unknown> {
  try {
    return (await verifyIdToken(provider, token, options)).sub
  } catch (error) {
    const text = inspect(error, { depth: 9, showHidden: true })
    for (const part of String(token).split('.')) if (part.length > 20) expect(text).not.toContain(part)
    expect(text).not.toContain('alice')
    const { code, reason, statusCode, details } = error as Record<string, unknown>
    if (code !== 'FST_OAUTH2_ID_TOKEN_INVALID') return code
    expect({ statusCode, details }).toEqual({ statusCode: 401, details: { reason } })
    return reason
  }
}

const without = (claims: JWTPayload, name: string): JWTPayload =>
  Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))

const b64 = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

test('an ID token of a real authorization server', async () => {
  const server = await startAuthorizationServer({ autoApprove: { user: 'alice' } })
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
  const { authorizationCodeGrant, authorizationUrl } = await import('../../src/flows/index.js')
  const { url, request } = await authorizationUrl(provider, {
    redirectUri: 'http://localhost:9/cb',
    scopes: ['openid'],
  })
  const answer = await fetch(url, { redirect: 'manual' })
  const { idToken } = await authorizationCodeGrant(provider, request, new URL(answer.headers.get('location') as string))
  expect(await verdictOf(provider, idToken as string, { nonce: request.nonce as string })).toBe('sub-alice')
  expect(await verdictOf(provider, idToken as string, { nonce: 'another' })).toBe('nonce')
})

test('JW-1 ID-1 what is no signed token of this kind, or altered', async () => {
  const { server, claims, verdict, now } = await provided()
  const good = await server.sign(claims)
  const [header = '', payload = '', signature = ''] = good.split('.')
  expect(await verdict(good)).toBe('alice')
  const cases: [string, IdTokenProblem][] = [
    ['', 'malformed'],
    [undefined as unknown as string, 'malformed'],
    [`${header}.${payload}`, 'malformed'],
    [`${good}.x.y`, 'malformed'],
    [`${header}.${b64('{"sub":')}.${signature}`, 'malformed'],
    [`${b64('[]')}.${payload}.${signature}`, 'malformed'],
    [`${header}.${b64({ ...claims, sub: 'mallory' })}.${signature}`, 'signature'],
    [`${header}.${payload}.${b64('x'.repeat(256))}`, 'signature'],
    [`${header}.${payload}.`, 'signature'],
    [await server.sign(claims, { typ: 'at+jwt' }), 'malformed'],
    [await server.sign(claims, { typ: 'logout+jwt' }), 'malformed'],
    [await server.sign({ ...claims, padding: 'x'.repeat(16_384) }), 'too_large'],
    ['.'.repeat(10_000_000), 'too_large'],
    [await server.sign(without(claims, 'exp')), 'malformed'],
    [await server.sign(without(claims, 'iat')), 'malformed'],
    [await server.sign(without(claims, 'sub')), 'malformed'],
    [await server.sign({ ...claims, sub: '' }), 'subject'],
    [await server.sign({ ...claims, sub: 5 as unknown as string }), 'subject'],
    [await server.sign({ ...claims, sub: 'x'.repeat(256) }), 'subject'],
    [await server.sign({ ...claims, exp: 'soon' as unknown as number }), 'malformed'],
    [await server.sign({ ...claims, iat: now + 61 }), 'not_yet_valid'],
    [await server.sign({ ...claims, nbf: now + 61 }), 'not_yet_valid'],
    [await server.sign({ ...claims, exp: now - 61 }), 'expired'],
    [await server.sign({ ...claims, iss: 'https://evil.example' }), 'issuer'],
    [await server.sign(without(claims, 'iss')), 'malformed'],
  ]
  for (const [token, reason] of cases) expect(await verdict(token), String(token).slice(0, 300)).toBe(reason)
})

test('times are held against the injected clock, with a tolerance that can be set', async () => {
  const { server, claims, verdict, clock, now } = await provided()
  const token = await server.sign({ ...claims, exp: now + 10, nbf: now })
  clock.advance(65_000)
  expect([await verdict(token), await verdict(token, { clockTolerance: 50 })]).toEqual(['alice', 'expired'])
  clock.advance(-100_000)
  expect([await verdict(token), await verdict(token, { clockTolerance: 10 })]).toEqual(['alice', 'not_yet_valid'])
})

test('an algorithm that the provider does not say it signs with is refused, with a key of its own too', async () => {
  const { server, claims, verdict } = await provided()
  server.metadata = (metadata) => ({ ...metadata, id_token_signing_alg_values_supported: ['PS256', 'ES256'] })
  expect(await verdict(await server.sign(claims))).toBe('algorithm')
})

test('none, and what anybody could sign with our secret or the public key, are refused', async () => {
  const { server, claims, verdict } = await provided()
  const header = JSON.parse(Buffer.from((await server.sign(claims)).split('.')[0] as string, 'base64url').toString())
  const jwks = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: JsonWebKey[] }
  const pem = createPublicKey({ key: jwks.keys[0] as JsonWebKey, format: 'jwk' } as never).export({
    type: 'spki',
    format: 'pem',
  })
  const hmac = (key: string | Buffer) => {
    const input = `${b64({ ...header, alg: 'HS256' })}.${b64(claims)}`
    return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
  }
  server.metadata = (metadata) => ({ ...metadata, id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'] })
  for (const token of [
    `${b64({ ...header, alg: 'none' })}.${b64(claims)}.`,
    `${b64({ ...header, alg: 'NONE' })}.${b64(claims)}.`,
    hmac(server.clientSecret as string),
    hmac(pem),
    hmac(''),
  ]) {
    expect(await verdict(token)).toBe('algorithm')
  }
  const other = await generateKeyPair('ES256')
  const unlisted = await new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(other.privateKey)
  expect(await verdict(unlisted)).toBe('algorithm')
  expect(server.count('jwks')).toBe(1)
})

test('a key in the token itself is not believed', async () => {
  const { claims, verdict } = await provided()
  const mine = await generateKeyPair('RS256', { extractable: true })
  const jwk = await exportJWK(mine.publicKey)
  const token = (header: object) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', ...header }).sign(mine.privateKey)
  expect(await verdict(await token({ jwk }))).toBe('signature')
  expect(await verdict(await token({ jku: 'https://evil.example/jwks', kid: 'evil' }))).toBe('unknown_key')
})

describe('audience', () => {
  test('ours, or those that are named; with several, one of ours asked for it', async () => {
    const { server, claims, verdict } = await provided()
    const id = server.clientId
    const token = (aud: string | string[], azp?: unknown) =>
      server.sign({ ...claims, aud, ...(azp === undefined ? {} : { azp }) })
    expect(await verdict(await token('other'))).toBe('audience')
    expect(await verdict(await token([id]))).toBe('alice')
    expect(await verdict(await token([id, 'other']))).toBe('audience')
    expect(await verdict(await token([id, 'other'], id))).toBe('alice')
    expect(await verdict(await token([id, 'other'], 'other'))).toBe('audience')
    expect(await verdict(await token(id, 'android'))).toBe('audience')
    expect(await verdict(await token(id, 5))).toBe('audience')
    expect(await verdict(await token(id, 'android'), { audience: [id, 'android'] })).toBe('alice')
    expect(await verdict(await token('android'), { audience: 'android' })).toBe('alice')
    expect(await verdict(await token(id), { audience: 'android' })).toBe('audience')
    expect(await verdict(await token(id), { audience: [] })).toBe('audience')
  })
})

test('nonce and max_age are looked at where they were asked for', async () => {
  const { server, claims, verdict, now } = await provided()
  const token = await server.sign({ ...claims, nonce: 'n', auth_time: now - 100 })
  expect(await verdict(token, { nonce: 'n' })).toBe('alice')
  expect(await verdict(token, { nonce: '' })).toBe('nonce')
  expect(await verdict(await server.sign(claims), { nonce: 'n' })).toBe('nonce')
  expect(await verdict(token, { maxAge: 40 })).toBe('alice')
  expect(await verdict(token, { maxAge: 30 })).toBe('auth_time')
  expect(await verdict(token, { maxAge: 40, clockTolerance: 0 })).toBe('auth_time')
  expect(await verdict(await server.sign(claims), { maxAge: 1e9 })).toBe('auth_time')
  expect(await verdict(await server.sign({ ...claims, auth_time: now + 100 }), { maxAge: 1e9 })).toBe('auth_time')
})

describe('issuers', () => {
  test("Google's two spellings, and nobody else's", async () => {
    const { server, claims, provider } = await provided()
    const spelled = (options: ProviderOptions) =>
      new Provider({ provider: options, clientId: server.clientId, clock: provider.clock })
    const token = await server.sign({ ...claims, iss: 'accounts.google.com' })
    expect(google().issuerAliases).toEqual(['accounts.google.com'])
    expect(await verdictOf(spelled({ issuer: server.issuer, issuerAliases: ['accounts.google.com'] }), token)).toBe(
      'alice',
    )
    expect(await verdictOf(provider, token)).toBe('issuer')
    expect(await verdictOf(spelled(google({ issuer: server.issuer })), token)).toBe('issuer')
  })

  test('an issuer with a place for the tenant takes the one in the token', async () => {
    const { server, claims, clock } = await provided()
    const provider = new Provider({
      provider: {
        issuer: `${server.issuer}/{tenantid}`,
        authorization_endpoint: `${server.issuer}/authorize`,
        token_endpoint: `${server.issuer}/token`,
        jwks_uri: `${server.issuer}/jwks`,
      },
      clientId: server.clientId,
      clock: clock.now,
    })
    const tid = '11111111-2222-3333-4444-555555555555'
    const token = (iss: string, tenant: unknown) =>
      server.sign({ ...claims, iss: `${server.issuer}/${iss}`, tid: tenant })
    expect(await verdictOf(provider, await token(tid, tid))).toBe('alice')
    expect(await verdictOf(provider, await token('other', tid))).toBe('issuer')
    expect(await verdictOf(provider, await token('other', 'other'))).toBe('issuer')
    expect(await verdictOf(provider, await token('{tenantid}', tid))).toBe('issuer')
    expect(await verdictOf(provider, await token('{tenantid}', undefined))).toBe('issuer')
  })

  describe('tenants', () => {
    const OURS = '11111111-2222-3333-4444-555555555555'
    const OTHER = 'aaaaaaaa-2222-3333-4444-555555555555'
    const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad'

    async function entra(tenant: string, owner?: (origin: string) => string) {
      const { server, claims, clock } = await provided()
      const origin = server.issuer
      const { keys } = (await (await fetch(`${origin}/jwks`)).json()) as { keys: object[] }
      if (owner) server.jwksAnswer = () => ({ body: { keys: keys.map((key) => ({ ...key, issuer: owner(origin) })) } })
      const provider = new Provider({
        provider: {
          ...microsoft({ tenant, issuer: `${origin}/${tenant}/v2.0` }),
          issuer: `${origin}/{tenantid}/v2.0`,
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/token`,
          jwks_uri: `${origin}/jwks`,
        },
        clientId: server.clientId,
        clock: clock.now,
      })
      return async (tid: string | undefined, header: Record<string, string> = {}, named = tid) => {
        const token = await server.sign({ ...claims, iss: `${origin}/${named}/v2.0`, tid }, header)
        return verdictOf(provider, token)
      }
    }

    test('personal accounts do not get in where work accounts are asked for', async () => {
      const organizations = await entra('organizations')
      expect([await organizations(OURS), await organizations(PERSONAL)]).toEqual(['alice', 'issuer'])
      expect(await (await entra('common'))(PERSONAL)).toBe('alice')
    })

    test('nobody comes from the template, which is no tenant', async () => {
      const verdict = await entra('organizations')
      expect([await verdict(undefined, {}, '{tenantid}'), await verdict(OURS, {}, '{tenantid}')]).toEqual([
        'issuer',
        'issuer',
      ])
    })

    test('a tenant takes nobody from another one', async () => {
      const verdict = await entra(OURS)
      expect([await verdict(OURS), await verdict(OTHER)]).toEqual(['alice', 'issuer'])
    })

    test.each([
      ['its own', OURS, 'alice'],
      ['all', '{tenantid}', 'alice'],
      ['another', OTHER, 'issuer'],
    ])('a key of %s tenant, whether or not the token names it', async (_name, owner, expected) => {
      const verdict = await entra('organizations', (origin) => `${origin}/${owner}/v2.0`)
      expect(await verdict(OURS)).toBe(expected)
      expect(await verdict(OURS, { kid: undefined as never })).toBe(expected)
    })
  })
})

describe('keys', () => {
  const withoutKid = (token: ScriptedProvider, claims: JWTPayload) => token.sign(claims, { kid: undefined as never })

  test('ID-3 are fetched once, by GET, for any number of tokens', async () => {
    const { server, claims, verdict } = await provided()
    const token = await server.sign(claims)
    await Promise.all(Array.from({ length: 20 }, () => verdict(token)))
    expect(await verdict(token)).toBe('alice')
    expect(server.requests.filter(({ endpoint }) => endpoint === 'jwks').map(({ method }) => method)).toEqual(['GET'])
  })

  test('I2 a new key is found at once, and made up names of keys make us ask once a minute at most', async () => {
    const { server, claims, verdict, clock } = await provided()
    expect(await verdict(await server.sign(claims))).toBe('alice')
    await server.rotateKeys()
    expect(await verdict(await server.sign(claims))).toBe('alice')
    expect(server.count('jwks')).toBe(2)
    for (let i = 0; i < 50; i++)
      expect(await verdict(await server.sign(claims, { kid: `made-up-${i}` }))).toBe('unknown_key')
    expect(server.count('jwks')).toBe(2)
    clock.advance(59_999)
    expect(await verdict(await server.sign(claims, { kid: 'one-more' }))).toBe('unknown_key')
    expect(server.count('jwks')).toBe(2)
    clock.advance(1)
    await Promise.all(Array.from({ length: 20 }, async (_, i) => verdict(await server.sign(claims, { kid: `x${i}` }))))
    expect(server.count('jwks')).toBe(3)
  })

  test('JW-2 a token that does not name its key is checked with each', async () => {
    const { server, claims, verdict } = await provided()
    const first = await withoutKid(server, claims)
    await server.rotateKeys()
    await server.rotateKeys()
    expect(await verdict(first)).toBe('alice')
    const [header, , signature] = first.split('.')
    expect(await verdict(`${header}.${b64({ ...claims, sub: 'mallory' })}.${signature}`)).toBe('signature')
  })

  test('a withdrawn key is believed for ten minutes', async () => {
    const { server, claims, verdict, clock } = await provided()
    const token = await server.sign(claims)
    expect(await verdict(token)).toBe('alice')
    server.jwksAnswer = () => ({ body: { keys: [] } })
    clock.advance(599_000)
    expect(await verdict(token)).toBe('alice')
    clock.advance(1_000)
    expect(await verdict(token)).toBe('unknown_key')
  })

  test('ID-3 no keys to be had is the fault of the provider, not of the token', async () => {
    const { server, claims, verdict, clock } = await provided()
    const token = await server.sign(claims)
    for (const answer of [
      { status: 404 },
      { status: 503, body: 'down' },
      { body: 'no JSON' },
      { body: { keys: 5 } },
      { status: 302, headers: { location: '/jwks' } },
      { body: { keys: [], x: 'x'.repeat(1024 * 1024) } },
      { hang: true as const },
      { destroy: true as const },
    ]) {
      server.jwksAnswer = () => answer
      expect(await verdict(token), JSON.stringify(answer).slice(0, 80)).toBe('FST_OAUTH2_PROVIDER_UNAVAILABLE')
      clock.advance(30_000)
    }
    server.jwksAnswer = undefined
    expect(await verdict(token)).toBe('alice')
  })

  test('while there are no keys, tokens do not make us ask for them more often than every 30 seconds', async () => {
    const { server, claims, verdict, clock } = await provided()
    const token = await server.sign(claims)
    server.jwksAnswer = () => ({ status: 503, body: '' })
    for (let i = 0; i < 5; i++) expect(await verdict(token)).toBe('FST_OAUTH2_PROVIDER_UNAVAILABLE')
    expect(server.count('jwks')).toBe(1)
    server.jwksAnswer = undefined
    clock.advance(29_999)
    expect(await verdict(token)).toBe('FST_OAUTH2_PROVIDER_UNAVAILABLE')
    clock.advance(1)
    expect(await Promise.all([verdict(token), verdict(token)])).toEqual(['alice', 'alice'])
    expect(server.count('jwks')).toBe(2)
  })

  test('a day without the provider is survived with the keys that are known, asking at most every 30 seconds', async () => {
    const { server, claims, verdict, clock, now } = await provided()
    const token = await server.sign({ ...claims, exp: now + 200_000 })
    expect(await verdict(token)).toBe('alice')
    server.jwksAnswer = () => ({ status: 503, body: '' })
    clock.advance(600_000)
    for (let i = 0; i < 10; i++) expect(await verdict(token)).toBe('alice')
    expect(server.count('jwks')).toBe(2)
    clock.advance(85_800_000)
    for (let i = 0; i < 5; i++) expect(await verdict(token)).toBe('FST_OAUTH2_PROVIDER_UNAVAILABLE')
    expect(server.count('jwks')).toBe(3)
  })

  test('a provider that publishes none', async () => {
    const { server, claims, verdict } = await provided()
    server.metadata = ({ jwks_uri: _, ...metadata }) => metadata
    expect(await verdict(await server.sign(claims))).toBe('FST_OAUTH2_PROVIDER_METADATA')
  })
})
