/** Tokens that are bound to a key: against a real authorization server, and against one that does not mean well. RFC 9449. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, type JWK } from 'jose'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import {
  authorizationCodeGrant,
  authorizationUrl,
  clientCredentialsGrant,
  type DPoPKey,
  jwtBearerGrant,
  Provider,
  type TokenSet,
  tokenExchangeGrant,
} from '../../src/flows/index.js'
import { type CredentialStore, type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../../src/testing/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { type Compiled, compileSources } from '../helpers/processes.js'
import { type Script, type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

const KEY = 'the key of this app, which is long enough'
const HOUR = 3_600_000

async function realServer(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer({
    dpop: 'nonce',
    googleHabits: false,
    rotateRefreshTokens: true,
    autoApprove: { user: 'alice' },
    api: { '/api/things': { scope: 'openid', body: ['a thing'] } },
    ...options,
  })
  onTestFinished(() => server.close())
  return server
}

interface Constrained extends TestApp {
  readonly server: AuthorizationServer
}

/** The app of the other tests, with a client of the real server that binds tokens to keys. */
async function constrainedApp({
  server,
  variant = sessionVariants[0] as SessionVariant,
  storage = memoryStore(),
  client = {},
}: {
  server?: AuthorizationServer
  variant?: SessionVariant
  storage?: 'session' | CredentialStore
  client?: Partial<OAuth2ClientOptions>
} = {}): Promise<Constrained> {
  const real = server ?? (await realServer())
  const app = await startApp({
    variant,
    storage,
    client: {
      provider: { issuer: real.issuer },
      clientId: real.clientId,
      clientSecret: real.clientSecret || undefined,
      encryptionKeys: KEY,
      dpop: true,
      ...client,
    } as Partial<OAuth2ClientOptions>,
    routes: (app) => {
      app.get('/things', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
        const response = await oauth2.fetch(`${real.issuer}/api/things?page=1#top`)
        return reply.code(response.status).send(await response.json())
      })
      app.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
        const access = await oauth2.getAccessToken()
        const proof = await access.dpopProof?.({ url: `${real.issuer}/api/things` })
        return { ...access, shown: inspect(access), logged: JSON.stringify(oauth2.credentials), proof }
      })
    },
  })
  return { ...app, server: real }
}

const grants = ({ tokenRequests }: AuthorizationServer, type: string) =>
  tokenRequests.filter(({ grantType }) => grantType === type)

/** The key that a proof shows, by its thumbprint. */
async function keyOf(proof: string | undefined): Promise<string> {
  return calculateJwkThumbprint(decodeProtectedHeader(proof as string).jwk as JWK)
}

describeEachSession((variant) => {
  describe.each(['session', 'store'] as const)('credentials in the %s', (place) => {
    const storage = () => (place === 'session' ? 'session' : memoryStore())

    test('L6: one key from the authorization request to the refresh, proofs of one use each, htu without the query', async () => {
      const { browser, url, server, clock } = await constrainedApp({ variant, storage: storage() })
      expect((await browser.goto(`${url}/things`)).json()).toEqual(['a thing'])
      expect((await browser.goto(`${url}/things`)).json()).toEqual(['a thing'])
      await server.expireAccessTokens()
      expect((await browser.goto(`${url}/things`)).json()).toEqual(['a thing'])
      clock.advance(HOUR)

      const proofs = [...server.tokenRequests, ...server.apiRequests].map(({ dpop }) => dpop as string)
      expect(new Set(await Promise.all(proofs.map(keyOf)))).toEqual(
        new Set([server.authorizationRequests[0]?.dpop_jkt]),
      )
      const claims = proofs.map((proof) => decodeJwt(proof))
      expect(new Set(claims.map(({ jti }) => jti)).size).toBe(proofs.length)
      const uses = new Set(claims.map(({ htm, htu, ath }) => `${htm} ${htu} ${typeof ath}`))
      expect([...uses].sort()).toEqual([
        `GET ${server.issuer}/api/things string`,
        `POST ${server.issuer}/token undefined`,
      ])
      expect(proofs.map((proof) => decodeProtectedHeader(proof))).toEqual(
        proofs.map(() => ({
          alg: 'ES256',
          typ: 'dpop+jwt',
          jwk: { kty: 'EC', crv: 'P-256', x: expect.any(String), y: expect.any(String) },
        })),
      )
      expect(new Set(server.apiRequests.map(({ authorization }) => authorization?.split(' ')[0]))).toEqual(
        new Set(['DPoP']),
      )
    })

    test('L6: each sign-in makes a key of its own', async () => {
      const { browser, url, server } = await constrainedApp({ variant, storage: storage() })
      await browser.goto(`${url}/profile`)
      await browser.goto(`${url}/oauth2authorize?return_url=/things`)
      const [first, second, ...more] = server.authorizationRequests.map(({ dpop_jkt }) => dpop_jkt)
      expect([first, second, more]).toEqual([expect.any(String), expect.any(String), []])
      expect(first).not.toBe(second)
    })

    test('L6: a public client, whose refresh tokens are bound to the key too', async () => {
      const server = await realServer({ clients: [{ clientId: 'public-client' }] })
      const { browser, url } = await constrainedApp({ server, variant, storage: storage() })
      await browser.goto(`${url}/things`)
      await server.expireAccessTokens()
      expect((await browser.goto(`${url}/things`)).json()).toEqual(['a thing'])
      const [used] = grants(server, 'refresh_token')
      const stolen = new URLSearchParams({ ...used?.params, refresh_token: used?.params.refresh_token as string })
      const answer = await fetch(`${server.issuer}/token`, { method: 'POST', body: stolen })
      expect([answer.status, grants(server, 'refresh_token').length]).toEqual([400, 2])
    })
  })
})

describe('what is stolen', () => {
  test('L6: the access token of a record is a 401 for whoever does not have the key', async () => {
    const { browser, url, server } = await constrainedApp()
    const { token, proof } = (await browser.goto(`${url}/token`)).json() as { token: string; proof: string }
    const call = (headers: Record<string, string>) => fetch(`${server.issuer}/api/things`, { headers })
    expect((await call({ authorization: `Bearer ${token}` })).status).toBe(401)
    expect((await call({ authorization: `DPoP ${token}` })).status).toBe(401)
    const key = await new Provider({ ...clientOf(server), dpop: true }).dpop.newKey(undefined)
    const other = await new Provider({ ...clientOf(server), dpop: true }).dpop.proof(
      key!,
      { url: `${server.issuer}/api/things` },
      token,
    )
    expect((await call({ authorization: `DPoP ${token}`, dpop: other })).status).toBe(401)
    const nonce = (await call({ authorization: `DPoP ${token}`, dpop: proof })).headers.get('dpop-nonce')
    expect(nonce).toEqual(expect.any(String))
  })

  test('L6: the key is in the sealed record and nowhere that people look', async () => {
    const storage = memoryStore()
    const { browser, url, server, logs } = await constrainedApp({ storage })
    const page = (await browser.goto(`${url}/token`)).json() as { shown: string; logged: string; tokenType: string }
    const manager = new CredentialManager({ ...clientOf(server), storage, encryptionKeys: KEY, dpop: true })
    const user = await manager.user('sub-alice')
    const { dpopKey } = user.credentials as Credentials
    const d = dpopKey?.d as string
    expect([page.tokenType, d.length]).toEqual(['DPoP', 43])
    const seen = [
      JSON.stringify(page),
      logs.text(),
      JSON.stringify(user.accounts()),
      inspect(user, { depth: 9 }),
      inspect(user.credentials, { depth: 9 }),
      JSON.stringify(await storage.get('user/oauth2/sub-alice')),
    ]
    expect(seen.filter((text) => text.includes(d))).toEqual([])
    const again = Credentials.fromJSON((user.credentials as Credentials).serialize())
    expect(again).toEqual(user.credentials)
    expect(again.dpopKey).toEqual(dpopKey)
  })

  test.each([{ d: 5 }, 'a key', { kty: 'oct', k: 'x', alg: 'HS256' }, null])('no key: %j', (dpopKey) => {
    const fields = { accessToken: 'at', tokenType: 'DPoP', dpopKey: dpopKey as never }
    expect(() => new Credentials(fields)).toThrow(/dpopKey/)
  })

  test('a DPoP token without its key is of no use, and is not taken in', () => {
    expect(() => new Credentials({ accessToken: 'at', tokenType: 'dpop' })).toThrow(/of no use without/)
  })
})

function clientOf({ issuer, clientId, clientSecret }: AuthorizationServer) {
  return { provider: { issuer }, clientId, ...(clientSecret ? { clientSecret } : {}) }
}

describe('nonces', () => {
  test('H14: the server asks for one once, and is then given it at once', async () => {
    const { browser, url, server } = await constrainedApp()
    await browser.goto(`${url}/things`)
    expect(grants(server, 'authorization_code')).toHaveLength(2)
    await server.expireAccessTokens()
    await browser.goto(`${url}/things`)
    expect(grants(server, 'refresh_token')).toHaveLength(1)
  })

  test('H14: a nonce that is over is no reason for another token', async () => {
    const { browser, url, server } = await constrainedApp()
    await browser.goto(`${url}/things`)
    const before = server.apiRequests.length
    server.renewDPoPNonce()
    expect((await browser.goto(`${url}/things`)).status).toBe(200)
    expect(server.apiRequests.length - before).toBe(2)
    expect(grants(server, 'refresh_token')).toHaveLength(0)
    // From then on it is known.
    expect((await browser.goto(`${url}/things`)).status).toBe(200)
    expect(server.apiRequests.length - before).toBe(3)
  })

  test('H14: a body goes again, and a stream that is gone does not', async () => {
    const { provider, manager } = await scriptedManager()
    let wanted = 'n-1'
    provider.apiAnswer = (_params, _defaults, { headers, body }) =>
      nonceOf(headers.dpop) === wanted
        ? { body: { body } }
        : { status: 401, headers: { 'dpop-nonce': wanted, 'www-authenticate': 'dPoP error="use_dpop_nonce"' } }
    const user = await manager.user('alice')
    const post = (body: BodyInit) =>
      user.fetch(`${provider.issuer}/api/notes`, { method: 'POST', body, duplex: 'half' } as RequestInit)
    expect(await (await post('a note')).json()).toEqual({ body: 'a note' })
    wanted = 'n-2'
    const stream = () => new Blob(['a stream']).stream()
    expect((await post(stream())).status).toBe(401)
    // It was heard, though, and the next one is right.
    expect(await (await post(stream())).json()).toEqual({ body: 'a stream' })
    expect(provider.count('token')).toBe(0)
  })

  test('H14: a server that never has enough of nonces gets one more request, and the caller a coded error', async () => {
    const provider = await scripted()
    let asked = 0
    provider.tokenAnswer = () => {
      asked += 1
      return { status: 400, headers: { 'dpop-nonce': `nonce-${asked}` }, body: { error: 'use_dpop_nonce' } }
    }
    const { browser, url } = await startApp({ provider, client: { dpop: true } })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body]).toEqual([502, expect.stringContaining('FST_OAUTH2_EXCHANGE_FAILED')])
    expect(asked).toBe(2)
    expect(page.body).not.toContain('nonce-')
  })

  test('H14: an API that never has enough of nonces gets one more request and causes no refresh', async () => {
    const { provider, manager } = await scriptedManager()
    let asked = 0
    provider.apiAnswer = () => {
      asked += 1
      return { status: 401, headers: { 'dpop-nonce': `n-${asked}`, 'www-authenticate': 'DPoP error="use_dpop_nonce"' } }
    }
    const response = await (await manager.user('alice')).fetch(`${provider.issuer}/api/things`)
    expect([response.status, asked, provider.count('token')]).toEqual([401, 2, 0])
  })

  test.each([
    ['10 kB', 'n'.repeat(10_000)],
    ['a quote', 'a"b'],
    ['a space', 'a b'],
    ['a line break, spelled', 'a%0d%0ab\\r\\n'],
    ['nothing', ''],
  ])('H14: no nonce: %s', async (_name, nonce) => {
    const { provider, manager } = await scriptedManager()
    provider.apiAnswer = () => ({
      status: 401,
      headers: { 'dpop-nonce': nonce, 'www-authenticate': 'DPoP error="use_dpop_nonce"' },
    })
    const user = await manager.user('alice')
    expect((await user.fetch(`${provider.issuer}/api/things`)).status).toBe(401)
    await user.fetch(`${provider.issuer}/api/things`)
    const sent = provider.requests.filter(({ endpoint }) => endpoint === 'api')
    expect(sent.map(({ headers }) => nonceOf(headers.dpop))).toEqual([undefined, undefined])
  })

  test('H14: nonces of very many servers do not pile up', async () => {
    const { dpop } = new Provider({ provider: { issuer: 'https://login.example.com' }, clientId: 'id', dpop: true })
    const key = (await dpop.newKey(['ES256']))!
    const origins = Array.from({ length: 1_001 }, (_, index) => `https://api-${index}.example.com`)
    for (const origin of origins)
      dpop.noteNonce('token', `${origin}/x`, new Headers({ 'dpop-nonce': origin.length.toString() }))
    const known = await Promise.all(origins.map(async (url) => nonceOf(await dpop.proof(key, { url }))))
    expect([known[0], known[500], known[1_000]]).toEqual([undefined, expect.any(String), expect.any(String)])
  })

  test('H14: asked for a nonce, then cut off: the refresh token may be used up, and is not sent once more', async () => {
    const { provider, manager } = await scriptedManager({ expiresAt: 1 })
    let asked = 0
    provider.tokenAnswer = () => {
      asked += 1
      if (asked > 1) return { destroy: true }
      return { status: 400, headers: { 'dpop-nonce': 'n' }, body: { error: 'use_dpop_nonce' } }
    }
    const user = await manager.user('alice')
    for (let time = 1; time <= 3; time += 1) {
      await expect(user.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
    }
    expect(asked).toBe(2)
    expect((await manager.user('alice')).accounts()).toMatchObject([{ status: 'refreshing' }])
  })

  test('H14: both requests together have the time of one', async () => {
    const { provider, manager } = await scriptedManager({ expiresAt: 1 }, { timeout: 400 })
    let asked = 0
    provider.tokenAnswer = () => {
      asked += 1
      return { delay: 300, status: 400, headers: { 'dpop-nonce': 'n' }, body: { error: 'use_dpop_nonce' } }
    }
    const error = await (await manager.user('alice')).getAccessToken().catch((thrown) => thrown)
    expect([error.code, asked]).toEqual(['FST_OAUTH2_PROVIDER_UNAVAILABLE', 2])
  })
})

function nonceOf(proof: unknown): unknown {
  return decodeJwt(String(proof)).nonce
}

async function scripted(clientSecret?: null): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider(clientSecret === null ? { clientSecret } : {})
  onTestFinished(() => provider.close())
  return provider
}

/** A manager that holds bound tokens of Alice's, or of another type. */
async function scriptedManager(
  fields: Partial<ConstructorParameters<typeof Credentials>[0]> = {},
  options: { timeout?: number; clock?: () => number } = {},
) {
  const provider = await scripted()
  const config = {
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    dpop: true,
    encryptionKeys: KEY,
    storage: memoryStore(),
    ...options,
  }
  const manager = new CredentialManager(config)
  const dpopKey = await new Provider(config).dpop.newKey(undefined)
  const tokens = { accessToken: 'at', refreshToken: 'rt', tokenType: 'DPoP', dpopKey, userId: 'sub-alice', scopes: [] }
  await (await manager.user('alice')).adopt(new Credentials({ ...tokens, ...fields }))
  return { provider, manager, dpopKey: dpopKey! }
}

const answered =
  (token_type: string, more: Record<string, unknown> = {}): Script =>
  async (_params, defaults) => {
    const { body } = await defaults()
    return { body: { ...body, token_type, ...more } }
  }

describe('downgrades', () => {
  test.each(['DPoP', 'dpop', 'DPOP'])('H6: DPoP was asked for, and %s is the answer', async (type) => {
    const provider = await scripted()
    provider.tokenAnswer = answered(type)
    const { browser, url } = await startApp({ provider, client: { dpop: true } })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    await browser.goto(`${url}/api`)
    const { headers } = provider.requests.find(({ endpoint }) => endpoint === 'api')!
    expect([headers.authorization, headers.dpop]).toEqual([expect.stringMatching(/^DPoP /), expect.any(String)])
  })

  test.each(['Bearer', 'bearer', 'mac'])('H6: DPoP was asked for, and %s is the answer: refused', async (type) => {
    const provider = await scripted()
    provider.tokenAnswer = answered(type)
    const { browser, url, logs } = await startApp({ provider, client: { dpop: true } })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body]).toEqual([502, expect.stringContaining('FST_OAUTH2_EXCHANGE_FAILED')])
    if (type !== 'mac') expect(logs.text()).toContain('a Bearer token came')
    expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
  })

  test('H6: DPoP was not asked for, and DPoP is the answer: refused', async () => {
    const provider = await scripted()
    provider.tokenAnswer = answered('DPoP')
    const { browser, url } = await startApp({ provider })
    expect((await browser.goto(`${url}/profile`)).status).toBe(502)
  })

  test('a refresh that is answered with a Bearer token is refused, and the refresh token that came with it is kept', async () => {
    const { provider, manager } = await scriptedManager({ expiresAt: 1 })
    provider.tokenAnswer = () => ({ body: { access_token: 'at-2', token_type: 'Bearer', refresh_token: 'rt-2' } })
    await expect((await manager.user('alice')).getAccessToken()).rejects.toThrow()
    provider.tokenAnswer = ({ refresh_token }) => ({
      body: { access_token: `for ${refresh_token}`.replace(' ', '-'), token_type: 'DPoP', refresh_token: 'rt-3' },
    })
    expect(await (await manager.user('alice')).getAccessToken()).toMatchObject({ token: 'for-rt-2', tokenType: 'DPoP' })
  })

  test('H6: a token that was stored with another spelling of its type is sent as ever', async () => {
    const { provider, manager } = await scriptedManager({ tokenType: 'bEaReR', dpopKey: undefined })
    provider.apiAnswer = () => ({ body: {} })
    await (await manager.user('alice')).fetch(`${provider.issuer}/api/things`)
    expect(provider.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer at'])
  })

  test('a record from before stays what it is until the next sign-in: no proof, and a Bearer token again', async () => {
    const { provider, manager } = await scriptedManager({ expiresAt: 1, tokenType: 'Bearer', dpopKey: undefined })
    provider.tokenAnswer = () => ({ body: { access_token: 'at-2', token_type: 'Bearer', expires_in: 3600 } })
    const user = await manager.user('alice')
    expect(await user.getAccessToken()).toMatchObject({ token: 'at-2', tokenType: 'Bearer' })
    await user.fetch(`${provider.issuer}/api/things`)
    expect(provider.requests.filter(({ headers }) => headers.dpop !== undefined)).toEqual([])
  })

  test('a sign-in without a refresh token keeps the old one, with the key that is its own', async () => {
    const { provider, manager, dpopKey } = await scriptedManager()
    const key = await new Provider({ provider: { issuer: provider.issuer }, clientId: 'x', dpop: true }).dpop.newKey(
      undefined,
    )
    const user = await manager.user('alice')
    const newer = {
      accessToken: 'at-2',
      tokenType: 'DPoP',
      dpopKey: key,
      userId: 'sub-alice',
      expiresAt: Date.now() + HOUR,
    }
    await user.adopt(new Credentials(newer))
    provider.apiAnswer = () => ({ body: {} })
    await user.fetch(`${provider.issuer}/api/things`)
    provider.tokenAnswer = () => ({ body: { access_token: 'at-3', token_type: 'DPoP', refresh_token: 'rt-3' } })
    await user.getAccessToken({ rejected: 'at-2' })
    await user.fetch(`${provider.issuer}/api/things`)
    const [first, refresh, last] = provider.requests.filter(({ headers }) => headers.dpop)
    const thumbprints = await Promise.all([first, refresh, last].map((sent) => keyOf(String(sent?.headers.dpop))))
    const [mine, theirs] = await Promise.all([dpopKey, key!].map((one) => calculateJwkThumbprint(one as JWK)))
    expect(thumbprints).toEqual([theirs, mine, mine])
  })

  test('the server signs with nothing that we can: said before anybody is sent anywhere', async () => {
    const provider = await scripted()
    provider.metadata = (metadata) => ({ ...metadata, dpop_signing_alg_values_supported: ['RS256'] })
    const { browser, url } = await startApp({ provider, client: { dpop: true } })
    const page = await browser.goto(`${url}/profile`)
    expect([page.status, page.body]).toEqual([500, expect.stringContaining('FST_OAUTH2_PROVIDER_METADATA')])
  })

  test.each([
    [['ES384', 'RS256'], true, 'ES384'],
    [['EdDSA'], true, 'EdDSA'],
    [['ES256', 'ES512'], { algorithm: 'ES512' }, 'ES512'],
  ] as const)('signs with what the server takes: %j, %j', async (supported, dpop, algorithm) => {
    const provider = await scripted()
    provider.metadata = (metadata) => ({ ...metadata, dpop_signing_alg_values_supported: supported })
    provider.tokenAnswer = answered('DPoP')
    const { browser, url } = await startApp({ provider, client: { dpop } })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    const { headers } = provider.requests.find(({ endpoint }) => endpoint === 'token')!
    expect(decodeProtectedHeader(String(headers.dpop)).alg).toBe(algorithm)
  })

  test('nobody else names the key of an authorization request', async () => {
    const provider = new Provider({ provider: { issuer: 'https://login.example.com' }, clientId: 'id' })
    const asked = { redirectUri: 'https://app.example.com/callback', params: { dpop_jkt: 'x' } }
    await expect(authorizationUrl(provider, asked)).rejects.toThrow(/may not set "dpop_jkt"/)
  })
})

describe('proofs', () => {
  test('iat is of our clock, and the method as it is sent', async () => {
    const clock = fakeClock(1_700_000_000_000)
    const { provider, manager } = await scriptedManager({}, { clock: clock.now })
    provider.apiAnswer = () => ({ body: {} })
    const user = await manager.user('alice')
    for (const method of ['get', 'PATCH', 'delete']) await user.fetch(`${provider.issuer}/api/things?a=b`, { method })
    await user.fetch(new Request(`${provider.issuer}/api/things`, { method: 'PUT', body: 'x' }))
    const sent = provider.requests.filter(({ endpoint }) => endpoint === 'api')
    const claims = sent.map(({ headers }) => decodeJwt(String(headers.dpop)))
    expect(claims.map(({ iat }) => iat)).toEqual(Array(sent.length).fill(1_700_000_000))
    expect(claims.map(({ htm }) => htm)).toEqual(sent.map(({ method }) => method))
  })

  test('a proof that is refused is no reason for another token', async () => {
    const { provider, manager } = await scriptedManager()
    provider.apiAnswer = () => ({ status: 401, headers: { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' } })
    expect((await (await manager.user('alice')).fetch(`${provider.issuer}/api/things`)).status).toBe(401)
    expect([provider.count('api'), provider.count('token')]).toEqual([1, 0])
  })

  test('userinfo is asked with a proof, and for its nonce too', async () => {
    const provider = await scripted()
    provider.tokenAnswer = answered('DPoP')
    provider.idTokenClaims = ({ email: _, ...claims }) => claims
    const proofs: string[] = []
    provider.userinfoAnswer = (_params, _defaults, { headers }) => {
      proofs.push(String(headers.dpop))
      const right = String(headers.authorization).startsWith('DPoP ') && nonceOf(headers.dpop) === 'n-1'
      return right
        ? { body: { sub: 'sub-alice', email: 'alice@example.com' } }
        : { status: 401, headers: { 'dpop-nonce': 'n-1', 'www-authenticate': 'DPoP error="use_dpop_nonce"' } }
    }
    const { browser, url, clock } = await startApp({ provider, client: { dpop: { algorithm: 'ES384' } } })
    clock.advance(HOUR)
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ email: 'alice@example.com' })
    expect(proofs).toHaveLength(2)
    const exchanged = provider.requests.find(({ endpoint }) => endpoint === 'token')!
    for (const proof of proofs) {
      expect(await keyOf(proof)).toBe(await keyOf(String(exchanged.headers.dpop)))
      expect(decodeProtectedHeader(proof)).toMatchObject({
        alg: 'ES384',
        jwk: expect.not.objectContaining({ d: expect.anything() }),
      })
      expect(decodeJwt(proof).iat).toBe(Math.floor(clock.now() / 1000))
    }
  })
})

describe('flows of their own', () => {
  test('a request that is plain JSON carries the key to another process', async () => {
    const server = await realServer()
    const provider = () => new Provider({ ...clientOf(server), dpop: true })
    const redirectUri = 'http://127.0.0.1/callback'
    const { url, request } = await authorizationUrl(provider(), { redirectUri, scopes: ['openid'] })
    const kept = JSON.stringify(request)
    const browser = new Browser()
    let page = await browser.step(url)
    while (!page.headers.get('location')?.startsWith(redirectUri))
      page = await browser.step(page.headers.get('location')!)
    const answer = page.headers.get('location')!
    const tokens = await authorizationCodeGrant(provider(), JSON.parse(kept), answer)
    expect(tokens).toMatchObject({ tokenType: 'DPoP', dpopKey: request.dpopKey })
    const credentials = Credentials.fromTokenSet(provider(), tokens, ['openid'])
    expect(credentials).toMatchObject({ tokenType: 'DPoP', dpopKey: request.dpopKey })
  })

  test('client credentials: a new key, or the one that is given', async () => {
    const server = await realServer()
    const provider = new Provider({ ...clientOf(server), dpop: true })
    const first = await clientCredentialsGrant(provider)
    const second = await clientCredentialsGrant(provider)
    const third = await clientCredentialsGrant(provider, { dpopKey: first.dpopKey })
    expect(first.tokenType).toBe('DPoP')
    expect(second.dpopKey).not.toEqual(first.dpopKey)
    expect(third.dpopKey).toEqual(first.dpopKey)
  })

  test.each<[string, (provider: Provider, dpopKey?: DPoPKey) => Promise<TokenSet>]>([
    ['client credentials', (provider, dpopKey) => clientCredentialsGrant(provider, { dpopKey })],
    ['token exchange', (provider, dpopKey) => tokenExchangeGrant(provider, { subjectToken: 'x', dpopKey })],
    ['JWT bearer', (provider, dpopKey) => jwtBearerGrant(provider, { assertion: 'a.b.c', dpopKey })],
  ])(
    '%s: what comes is bound to the key that was given, or to a new one, and nothing without',
    async (_name, grant) => {
      const server = await scripted()
      server.tokenAnswer = (_params, _defaults, { headers }) => ({
        body: { access_token: 'at', token_type: headers.dpop ? 'DPoP' : 'Bearer' },
      })
      const { issuer, clientId, clientSecret } = server
      const config = { provider: { issuer }, clientId, clientSecret: clientSecret as string }
      const provider = new Provider({ ...config, dpop: true })
      const given = (await provider.dpop.newKey(undefined)) as DPoPKey
      const [kept, fresh] = [await grant(provider, given), await grant(provider)]
      const [first, second] = server.requests.filter(({ endpoint }) => endpoint === 'token')
      expect(kept).toMatchObject({ tokenType: 'DPoP', dpopKey: given })
      expect(await keyOf(String(first?.headers.dpop))).toBe(await calculateJwkThumbprint(given as JWK))
      expect(fresh.dpopKey).not.toEqual(given)
      expect(await keyOf(String(second?.headers.dpop))).toBe(await calculateJwkThumbprint(fresh.dpopKey as JWK))
      const plain = await grant(new Provider(config))
      expect([plain.tokenType, plain.dpopKey]).toEqual(['Bearer', undefined])
    },
  )

  test('a key that is none is named', async () => {
    const server = await realServer()
    const provider = new Provider({ ...clientOf(server), dpop: true })
    const dpopKey = { kty: 'EC' } as never
    await expect(clientCredentialsGrant(provider, { dpopKey })).rejects.toThrow(/"dpopKey"/)
    await expect(tokenExchangeGrant(provider, { subjectToken: 'x', dpopKey })).rejects.toThrow(/"dpopKey"/)
  })
})

describe('many at once', () => {
  test('50 requests with a credential that is over, and a nonce that is too: one refresh', async () => {
    const { browser, url, server } = await constrainedApp()
    await browser.goto(`${url}/things`)
    await server.expireAccessTokens()
    server.renewDPoPNonce()
    const pages = await Promise.all(Array.from({ length: 50 }, () => browser.xhr(`${url}/things`)))
    expect(pages.map(({ status }) => status)).toEqual(Array(50).fill(200))
    expect(grants(server, 'refresh_token')).toHaveLength(1)
  })

  test('50 requests, and the authorization server wants another nonce in the middle of the refresh', async () => {
    const { provider, manager } = await scriptedManager({ expiresAt: 1 })
    const sent: string[] = []
    provider.tokenAnswer = (_params, _defaults, { headers, params }) => {
      sent.push(`${params.refresh_token} ${nonceOf(headers.dpop)}`)
      if (sent.length === 1) return { status: 400, headers: { 'dpop-nonce': 'new' }, body: { error: 'use_dpop_nonce' } }
      return { body: { access_token: 'at-2', token_type: 'DPoP', refresh_token: 'rt-2', expires_in: 3600 } }
    }
    const all = await Promise.all(
      Array.from({ length: 50 }, async () => (await (await manager.user('alice')).getAccessToken()).token),
    )
    expect(new Set(all)).toEqual(new Set(['at-2']))
    expect(sent).toEqual(['rt undefined', 'rt new'])
  })

  describe('two processes', () => {
    let compiled: Compiled
    beforeAll(async () => {
      compiled = await compileSources(['src/credentials/index', 'src/storage/sql', 'src/storage/sqlite'])
    }, 60_000)
    afterAll(() => compiled.remove())

    test('a web app and a worker use one key, and one of them refreshes', { timeout: 30_000 }, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'dpop-'))
      onTestFinished(() => rm(directory, { recursive: true }))
      const path = join(directory, 'credentials.sqlite')
      const db = await openSqlite({ path })
      onTestFinished(() => db.destroy())
      await createCredentialTables(db)
      const { browser, url, server } = await constrainedApp({
        storage: sqlStore({ db }),
        client: { cacheMaxAge: 0, clock: Date.now },
      })
      await browser.goto(`${url}/things`)
      const options = { ...clientOf(server), encryptionKeys: KEY, dpop: true }
      const script = fileURLToPath(new URL('../credentials/worker.mjs', import.meta.url))
      const child = compiled.start(script, { path, options }, { talk: true })
      onTestFinished(() => void child.kill())
      const next = () => new Promise<{ result?: unknown }>((resolve) => child.once('message', resolve as never))
      await next()
      await server.expireAccessTokens()
      const answer = next()
      child.send({ name: 'fetch', user: 'sub-alice', url: `${server.issuer}/api/things` })
      const pages = Promise.all(Array.from({ length: 10 }, () => browser.xhr(`${url}/things`)))
      expect(await answer).toEqual({ result: { status: 200, body: ['a thing'] } })
      expect((await pages).map(({ status }) => status)).toEqual(Array(10).fill(200))
      // The other process had yet to hear the nonce, if it was the one: the refresh token was used once all the same.
      const used = grants(server, 'refresh_token').map(({ params }) => params.refresh_token)
      expect(new Set(used).size).toBe(1)
      expect(used.length).toBeLessThanOrEqual(2)
    })
  })
})
