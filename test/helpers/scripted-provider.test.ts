import { createHash } from 'node:crypto'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Browser } from './browser.js'
import { fakeClock } from './clock.js'
import { type ScriptedProvider, startScriptedProvider } from './scripted-provider.js'

const clock = fakeClock()
const redirectUri = 'http://localhost:1/callback'
const verifier = 'verifier-'.repeat(6)
let provider: ScriptedProvider

beforeEach(async () => {
  provider = await startScriptedProvider({ clock: clock.now })
})
afterEach(() => provider.close())

async function authorize(params: Record<string, string> = {}): Promise<URLSearchParams> {
  const query = new URLSearchParams({
    client_id: provider.clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'openid email files',
    state: 'the-state',
    nonce: 'the-nonce',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...params,
  })
  const { location } = await new Browser().step(`${provider.issuer}/authorize?${query}`)
  return new URL(location!).searchParams
}

async function token(params: Record<string, string>, headers: Record<string, string> = {}) {
  const client = headers.authorization ? {} : { client_id: provider.clientId, client_secret: provider.clientSecret! }
  const body = new URLSearchParams({ ...client, ...params })
  const response = await fetch(`${provider.issuer}/token`, { method: 'POST', body, headers })
  // biome-ignore lint/suspicious/noExplicitAny: whatever the script says
  return { status: response.status, body: (await response.json()) as any }
}

const exchange = (code: string) =>
  token({ grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier })
const refresh = (refresh_token: string) => token({ grant_type: 'refresh_token', refresh_token })
const signIn = async () => (await exchange((await authorize()).get('code')!)).body
const api = (bearer: string) =>
  fetch(`${provider.issuer}/api/files`, { headers: { authorization: `Bearer ${bearer}` } })

it('is an OpenID provider if left alone', async () => {
  provider.user = 'bob'
  const answer = await authorize()
  expect(answer.get('state')).toBe('the-state')
  expect(answer.get('iss')).toBe(provider.issuer)
  const { status, body } = await exchange(answer.get('code')!)
  expect(status).toBe(200)
  expect(body).toMatchObject({
    access_token: expect.stringMatching(/^at-canary-/),
    refresh_token: expect.stringMatching(/^rt-canary-/),
    token_type: 'Bearer',
    expires_in: 3600,
    scope: 'openid email files',
  })

  const metadata = await (await fetch(`${provider.issuer}/.well-known/openid-configuration`)).json()
  const jwks = createRemoteJWKSet(new URL(metadata.jwks_uri))
  const { payload } = await jwtVerify(body.id_token, jwks, { issuer: provider.issuer, audience: provider.clientId })
  expect(payload).toMatchObject({ sub: 'sub-bob', email: 'bob@example.com', nonce: 'the-nonce' })

  expect(await (await api(body.access_token)).json()).toMatchObject({ sub: 'sub-bob', path: '/api/files' })
  clock.advance(3_600_000)
  expect((await api(body.access_token)).status).toBe(401)
  expect((await refresh(body.refresh_token)).body.refresh_token).toBeUndefined()

  expect([provider.count('token'), provider.count('token', 'refresh_token'), provider.count('api')]).toEqual([2, 1, 2])
  expect(provider.requests.map(({ endpoint }) => endpoint)).toEqual([
    'authorize',
    'token',
    'discovery',
    'jwks',
    'api',
    'api',
    'token',
  ])
  expect(provider.secrets()).toEqual(
    expect.arrayContaining([
      provider.clientSecret,
      'the-state',
      'the-nonce',
      verifier,
      answer.get('code'),
      body.access_token,
      body.refresh_token,
      body.id_token,
    ]),
  )
})

it('checks the client, the code verifier and that codes are new', async () => {
  const code = (await authorize()).get('code')!
  const params = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier }
  const basic = (secret: string) => ({
    authorization: `Basic ${Buffer.from(`${provider.clientId}:${secret}`).toString('base64')}`,
  })
  expect((await token(params, basic('wrong'))).status).toBe(401)
  expect((await token(params, basic(provider.clientSecret!.replaceAll('-', '%2D')))).status).toBe(200)
  expect((await token(params)).body.error).toBe('invalid_grant')
  const other = (await authorize()).get('code')!
  expect((await token({ ...params, code: other, code_verifier: 'wrong' })).body.error).toBe('invalid_grant')
  expect((await authorize({ code_challenge_method: 'plain' })).get('error')).toBe('invalid_request')
})

it('hands out refresh tokens by policy', async () => {
  provider.refreshTokenPolicy = 'first'
  expect(await signIn()).toHaveProperty('refresh_token')
  expect(await signIn()).not.toHaveProperty('refresh_token')
  const again = await exchange((await authorize({ prompt: 'consent' })).get('code')!)
  expect(again.body).toHaveProperty('refresh_token')

  provider.refreshTokenPolicy = 'rotate'
  const first = (await signIn()).refresh_token
  const { body } = await refresh(first)
  expect(body.refresh_token).toMatch(/^rt-canary-/)
  expect((await refresh(first)).body.error).toBe('invalid_grant')
  expect((await refresh(body.refresh_token)).body.error).toBe('invalid_grant')
  expect(provider.isValidAccessToken(body.access_token)).toBe(false)
})

it('revokes, withdraws and expires', async () => {
  const revoked = await signIn()
  await fetch(`${provider.issuer}/revoke`, {
    method: 'POST',
    body: new URLSearchParams({ token: revoked.refresh_token }),
  })
  expect((await api(revoked.access_token)).status).toBe(401)

  const expired = await signIn()
  provider.expireAccessTokens()
  expect((await api(expired.access_token)).status).toBe(401)
  expect((await refresh(expired.refresh_token)).status).toBe(200)

  provider.withdraw()
  expect((await refresh(expired.refresh_token)).status).toBe(400)
})

it('answers what the script says', async () => {
  provider.grant = (requested) => requested.filter((scope) => scope !== 'files')
  provider.authorizeAnswer = ({ state }) => ({ error: 'access_denied', state: state! })
  expect([...(await authorize())]).toEqual([
    ['error', 'access_denied'],
    ['state', 'the-state'],
  ])
  provider.authorizeAnswer = undefined
  provider.idTokenClaims = (claims) => ({ ...claims, sub: 'someone-else' })
  provider.tokenAnswer = async (_, defaults) => {
    const { body } = await defaults()
    return { body: { ...body, access_token: 'made-up' } }
  }
  const body = await signIn()
  expect(body).toMatchObject({ access_token: 'made-up', scope: 'openid email' })
  expect(JSON.parse(Buffer.from(body.id_token.split('.')[1], 'base64url').toString()).sub).toBe('someone-else')
  expect(provider.secrets()).toContain('made-up')

  provider.signIdToken = async (claims) => `not-${claims.sub}`
  expect((await signIn()).id_token).toBe('not-someone-else')

  provider.apiAnswer = () => ({ status: 429, headers: { 'Retry-After': '7' }, body: 'slow down' })
  const limited = await api('any')
  expect([limited.status, limited.headers.get('retry-after'), await limited.text()]).toEqual([429, '7', 'slow down'])
})

it('loses answers after the fact, or refuses without effect', async () => {
  provider.refreshTokenPolicy = 'rotate'
  const { refresh_token } = await signIn()
  provider.tokenAnswer = () => ({ status: 503, body: '' })
  await expect(refresh(refresh_token)).rejects.toThrow()
  provider.tokenAnswer = undefined
  const next = (await refresh(refresh_token)).body.refresh_token

  provider.tokenAnswer = async (_, defaults) => {
    await defaults()
    return { destroy: true }
  }
  await expect(refresh(next)).rejects.toThrow('fetch failed')
  provider.tokenAnswer = undefined
  expect((await refresh(next)).body.error).toBe('invalid_grant')
})

it('hangs, and closes all the same', async () => {
  const { refresh_token } = await signIn()
  provider.tokenAnswer = () => ({ hang: true })
  const hanging = expect(refresh(refresh_token)).rejects.toThrow('fetch failed')
  await expect.poll(() => provider.count('token', 'refresh_token')).toBe(1)
  await provider.close()
  await hanging
  provider = await startScriptedProvider()
})

it('holds answers until they are released', async () => {
  const { refresh_token } = await signIn()
  const hold = provider.hold('token')
  const both = Promise.all([refresh(refresh_token), refresh(refresh_token)])
  await hold.arrived(2)
  expect(hold.waiting).toBe(2)
  hold.release()
  expect((await both).map(({ status }) => status)).toEqual([200, 200])
  expect((await refresh(refresh_token)).status).toBe(200)
})
