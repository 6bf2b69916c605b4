// What programs relied on in oauth2client's flows and helpers, where the flows' own tests do not say it: PKCE (PK-1, PK-3), scopes
// and queries (HE-1 to HE-3), FW-3, FW-7 and ID-2; and
// in Flow of google-auth-oauthlib (GO-1 to GO-6). Inverted: FW-3 (approval_prompt has no meaning any more), FW-7 (no scopes is a request
// without scope, as RFC 6749 section 3.3 has it), HE-3 (what comes twice is refused, not only noticed).
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseScopes } from '../../src/credentials/index.js'
import {
  type AuthorizationRequest,
  authorizationCodeGrant,
  authorizationUrl,
  Provider,
  parseClientSecrets,
} from '../../src/flows/index.js'
import { HOUR, obtain, startManager, startProvider } from './person.js'

const redirectUri = 'http://localhost/callback'
const endpoints = (query = '') => ({
  issuer: 'https://issuer.example',
  authorization_endpoint: `https://issuer.example/authorize${query}`,
  token_endpoint: 'https://issuer.example/token',
})
const written = (query?: string) =>
  new Provider({ provider: endpoints(query), clientId: 'client', clientSecret: 'secret' })
const paramsOf = (url: string) => Object.fromEntries(new URL(url).searchParams)

async function answered(scopes: readonly string[] = ['files.read']) {
  const server = await startProvider()
  const { issuer, clientId, clientSecret, requests } = server
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret: clientSecret as string })
  const { url, request } = await authorizationUrl(provider, { redirectUri, scopes })
  const { headers } = await fetch(url, { redirect: 'manual' })
  const { searchParams } = new URL(headers.get('location') as string)
  const exchanges = () => requests.filter(({ endpoint }) => endpoint === 'token')
  return { server, provider, request, query: searchParams, exchanges }
}

describe('PKCE', () => {
  test('PK-1 a verifier of 43 to 128 unreserved characters, another one for each request', async () => {
    const requests = await Promise.all([1, 2, 3].map(() => authorizationUrl(written(), { redirectUri })))
    const verifiers = requests.map(({ request }) => request.codeVerifier)
    for (const verifier of verifiers) expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
    expect(new Set(verifiers).size).toBe(3)
  })

  test('PK-3 the challenge is the SHA-256 of the verifier, and says so', async () => {
    const { url, request } = await authorizationUrl(written(), { redirectUri })
    const code_challenge = createHash('sha256').update(request.codeVerifier).digest('base64url')
    expect(paramsOf(url)).toMatchObject({ code_challenge, code_challenge_method: 'S256' })
    const known = createHash('sha256').update('SOME_VERIFIER').digest('base64url')
    expect(known).toBe('6xJCQsjTtS3zjUwd8_ZqH0SyviGHnp5PsHXWKOCqDuI')
  })
})

describe('what a request says', () => {
  test.each([
    ['text', 'a b'],
    ['a list', ['a', 'b']],
    ['text with gaps', ' a  b '],
  ])('HE-1 scopes as %s are one text with single spaces', async (_name, scopes) => {
    const { url } = await authorizationUrl(written(), { redirectUri, scopes: parseScopes(scopes) })
    expect(paramsOf(url).scope).toBe('a b')
  })

  test('HE-2 a query of the endpoint stays, and what is ours takes the place of its namesake, once', async () => {
    const { url } = await authorizationUrl(written('?tenant=t&prompt=none&state=theirs'), {
      redirectUri,
      params: { prompt: 'consent' },
    })
    const { searchParams } = new URL(url)
    expect(['tenant', 'prompt'].map((name) => searchParams.getAll(name))).toEqual([['t'], ['consent']])
    expect(searchParams.getAll('state')).not.toContain('theirs')
    expect(searchParams.getAll('state')).toHaveLength(1)
  })

  test('FW-3 inverted: prompt is what asks again; approval_prompt is a parameter like any other, and nothing is made of it', async () => {
    const { url } = await authorizationUrl(written(), { redirectUri, params: { prompt: 'consent' } })
    expect(paramsOf(url).prompt).toBe('consent')
    const { url: old } = await authorizationUrl(written(), { redirectUri, params: { approval_prompt: 'force' } })
    expect(paramsOf(old)).not.toHaveProperty('prompt')
  })

  test('FW-7 inverted: without scopes there is no scope, and the provider decides', async () => {
    const { url } = await authorizationUrl(written(), { redirectUri })
    expect(paramsOf(url)).not.toHaveProperty('scope')
  })
})

test.each(['code', 'state', 'iss'])(
  'HE-3 inverted: an answer with %s twice is refused, whichever of them is right',
  async (name) => {
    for (const order of ['before', 'after']) {
      const { provider, request, query, exchanges } = await answered()
      const right = query.toString()
      const doubled = order === 'before' ? `${name}=x&${right}` : `${right}&${name}=x`
      await expect(authorizationCodeGrant(provider, request, doubled)).rejects.toThrow()
      expect(exchanges()).toEqual([])
    }
  },
)

describe('ID tokens of an exchange', () => {
  test('ID-2 claims and text come along, verified', async () => {
    const { provider, request, query } = await answered(['openid', 'email'])
    const { claims, idToken } = await authorizationCodeGrant(provider, request, query.toString())
    expect(claims).toMatchObject({ sub: 'sub-alice', email: 'alice@example.com', aud: provider.clientId })
    expect(idToken?.split('.')).toHaveLength(3)
  })

  test.each(['not.a.token', 'a.b', '', 'e30.e30.e30'])(
    'ID-2 %j is none: nothing of the answer is used',
    async (id_token) => {
      const { server, provider, request, query } = await answered(['openid'])
      server.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, id_token } })
      const failing = authorizationCodeGrant(provider, request, query.toString())
      await expect(failing).rejects.toMatchObject({ name: 'ProviderFailure', kind: 'unusable' })
    },
  )
})

describe('Flow of google-auth-oauthlib', () => {
  test.each(['web', 'installed'] as const)(
    'GO-1 a file of type %s; the redirect URI is the same text in both steps',
    async (type) => {
      const endpoints = { auth_uri: 'https://issuer.example/authorize', token_uri: 'https://issuer.example/token' }
      const section = {
        client_id: 'client',
        client_secret: 'secret',
        redirect_uris: ['http://localhost'],
        ...endpoints,
      }
      expect(parseClientSecrets(JSON.stringify({ [type]: section }))).toMatchObject({ type, clientId: 'client' })
      for (const redirectUri of ['http://localhost', 'http://localhost/', 'http://localhost:80/a%20b']) {
        const { url, request } = await authorizationUrl(written(), { redirectUri })
        expect([paramsOf(url).redirect_uri, request.redirectUri]).toEqual([redirectUri, redirectUri])
      }
    },
  )

  test('GO-1 a file of neither type', () => {
    const code = 'FST_OAUTH2_CLIENT_SECRETS_INVALID'
    expect(() => parseClientSecrets('{"desktop":{}}')).toThrow(expect.objectContaining({ code }))
  })

  test('GO-2 the URL asks for scopes with a challenge, and for what else is wanted', async () => {
    const params = { access_type: 'offline' }
    const { url } = await authorizationUrl(written(), { redirectUri, scopes: ['a', 'b'], prompt: 'consent', params })
    expect(paramsOf(url)).toMatchObject({
      scope: 'a b',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
      access_type: 'offline',
      prompt: 'consent',
    })
  })

  test('GO-3 GO-4 the verifier is in the request that is remembered, and goes with code and secret', async () => {
    const { server, provider, request, query, exchanges } = await answered()
    const remembered: AuthorizationRequest = JSON.parse(JSON.stringify(request))
    await authorizationCodeGrant(provider, remembered, query.toString())
    const sent = {
      code: query.get('code'),
      code_verifier: request.codeVerifier,
      client_secret: server.clientSecret,
      redirect_uri: redirectUri,
    }
    expect(exchanges().map(({ params }) => params)).toEqual([expect.objectContaining(sent)])
  })

  test('GO-5 tokens, when they expire, and what was granted, which is not what was asked for', async () => {
    const { server, provider, request, query } = await answered(['openid', 'files.read'])
    server.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, scope: 'openid' } })
    const tokens = await authorizationCodeGrant(provider, request, query.toString())
    expect(tokens).toMatchObject({
      accessToken: expect.stringContaining('at-'),
      refreshToken: expect.stringContaining('rt-'),
      idToken: expect.any(String),
      scopes: ['openid'],
    })
    expect(Math.abs((tokens.expiresAt as number) - Date.now() - HOUR)).toBeLessThan(60_000)
  })

  test('GO-6 a session that calls the API with them', async () => {
    const provider = await startProvider()
    const alice = await startManager(provider).user('alice')
    await alice.adopt(await obtain(provider))
    const response = await alice.fetch(`${provider.issuer}/api/files`)
    expect(await response.json()).toMatchObject({ ok: true, sub: 'sub-alice' })
  })
})
