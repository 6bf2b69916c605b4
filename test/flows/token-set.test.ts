/** What becomes of an answer of the token endpoint: what is wrong with it is said, and nothing else of it. */
import { inspect } from 'node:util'
import type { JWTPayload } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  authorizationCodeGrant,
  authorizationUrl,
  clientCredentialsGrant,
  Provider,
  type ProviderFailure,
  type ProviderOptions,
  refreshTokenGrant,
  tokenExchangeGrant,
} from '../../src/flows/index.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

const now = () => Math.floor(Date.now() / 1000)

async function scripted(options: Partial<ProviderOptions> = {}, config: { dpop?: boolean } = {}) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const clock = fakeClock()
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({
    provider: { issuer, ...options },
    clientId,
    clientSecret: clientSecret as string,
    clock: clock.now,
    ...config,
  })
  const answer = (body: Record<string, unknown>) => {
    server.tokenAnswer = () => ({ body: { access_token: 'at', token_type: 'Bearer', ...body } })
  }
  const claims = { iss: issuer, aud: clientId, sub: 'sub-alice', iat: now(), exp: now() + 60 }
  return { server, provider, clock, answer, claims }
}

async function signIn(provider: Provider) {
  const redirectUri = 'https://app.example.com/callback'
  const { url, request } = await authorizationUrl(provider, { redirectUri, scopes: ['openid'] })
  const { headers } = await fetch(url, { redirect: 'manual' })
  return authorizationCodeGrant(provider, request, headers.get('location') as string)
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('this should have failed'),
    (error: ProviderFailure) => error,
  )

const claimed = (change: JWTPayload) => (server: ScriptedProvider) => {
  server.idTokenClaims = (claims) => ({ ...claims, ...change })
}

describe('an ID token that is refused', () => {
  test.each<[string, (server: ScriptedProvider) => void]>([
    ['its id_token is from the future', claimed({ iat: now() + 3_600, exp: now() + 7_200 })],
    ['its id_token is for another client', claimed({ azp: 'canary' })],
    ['its id_token names nobody', claimed({ sub: 'canary'.repeat(50) })],
    ['its id_token is about another access_token', claimed({ at_hash: 'canary' })],
    ['its id_token is too large', claimed({ groups: 'canary'.repeat(4_000) })],
    ['the nonce of its id_token is missing, or is not what was asked for', claimed({ nonce: 'canary' })],
    ['the aud of its id_token is missing, or is not what was asked for', claimed({ aud: 'canary' })],
    ['the iss of its id_token is missing, or is not what was asked for', claimed({ iss: 'https://canary.example' })],
    [
      'its id_token is not signed by the provider',
      (server) => {
        server.signIdToken = async (claims) => `${(await server.sign(claims)).replace(/[^.]*$/, '')}Y2FuYXJ5`
      },
    ],
    [
      'there are no keys to verify its id_token with',
      (server) => {
        server.jwksAnswer = () => ({ status: 500, body: 'canary' })
      },
    ],
  ])('%s', async (problem, spoil) => {
    const { server, provider } = await scripted()
    spoil(server)
    const failure = await failureOf(signIn(provider))
    expect(failure).toMatchObject({ kind: 'unusable', message: `token request failed: unusable, HTTP 200: ${problem}` })
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toMatch(/canary|Y2FuYXJ5/)
  })

  test('names of keys that nobody knows make us look for new ones once a minute, and not with every sign-in', async () => {
    const { server, provider, clock } = await scripted()
    await signIn(provider)
    const sign = server.sign.bind(server)
    const unknown = { header: Buffer.from(JSON.stringify({ alg: 'RS256', kid: 'nobody' })).toString('base64url') }
    server.signIdToken = async (claims) => (await sign(claims)).replace(/^[^.]*/, unknown.header)
    const before = server.count('jwks')
    for (const fetched of [1, 1, 1]) {
      expect((await failureOf(signIn(provider))).kind).toBe('unusable')
      expect(server.count('jwks') - before).toBe(fetched)
    }
    clock.advance(60_001)
    await failureOf(signIn(provider))
    expect(server.count('jwks') - before).toBe(2)
  })
})

describe('a refresh', () => {
  test('reads the ID token that comes along, unless it is told not to', async () => {
    const { server, provider, answer, claims } = await scripted()
    answer({ id_token: await server.sign(claims) })
    expect(await refreshTokenGrant(provider, 'rt')).toMatchObject({ claims: { sub: 'sub-alice' } })
    expect(await refreshTokenGrant(provider, 'rt', { acceptIdToken: false })).not.toHaveProperty('claims')
    answer({ id_token: await server.sign({ ...claims, aud: 'another' }) })
    expect(await failureOf(refreshTokenGrant(provider, 'rt'))).toMatchObject({ kind: 'unusable' })
  })

  test.each(['', undefined as unknown as string])('of no token (%j) is refused by name, and not sent', async (none) => {
    const { server, provider } = await scripted()
    expect(await failureOf(refreshTokenGrant(provider, none))).toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining('"refreshToken"'),
    })
    expect(server.count('token')).toBe(0)
  })
})

describe('what is taken of an answer', () => {
  test('how long it lasts, from before it was asked for: not at all, in parts of a second, and ten years at most', async () => {
    const { provider, answer, clock } = await scripted()
    for (const [said, seconds] of [
      [0, 0],
      [1.9, 1],
      ['60', 60],
      [1e12, 10 * 365 * 86_400],
    ]) {
      answer({ expires_in: said })
      expect((await clientCredentialsGrant(provider)).expiresAt).toBe(clock.now() + Number(seconds) * 1000)
    }
  })

  test('the members that the preset asks for, where they are there', async () => {
    const { provider, answer } = await scripted({ tokenClaims: ['instance_url', 'team', 'bot'] })
    answer({ instance_url: 'https://na1.example', team: null, other: 1, bot: false })
    const { details } = await clientCredentialsGrant(provider)
    expect(details).toEqual({ instance_url: 'https://na1.example', bot: false })
    answer({ team: null, other: 1 })
    expect(await clientCredentialsGrant(provider)).not.toHaveProperty('details')
  })

  test('a key only with a token that is bound to it', async () => {
    const { provider, answer } = await scripted({}, { dpop: true })
    answer({ token_type: 'N_A' })
    const tokens = await tokenExchangeGrant(provider, { subjectToken: 'st' })
    expect(tokens).toMatchObject({ tokenType: 'N_A' })
    expect(tokens).not.toHaveProperty('dpopKey')
  })

  test('a token that just fits into a header, and none that is longer', async () => {
    const { provider, answer } = await scripted()
    answer({ access_token: 'x'.repeat(16_384), refresh_token: 'x'.repeat(16_385) })
    const { accessToken, refreshToken } = await clientCredentialsGrant(provider)
    expect([accessToken.length, refreshToken]).toEqual([16_384, undefined])
    answer({ access_token: 'x'.repeat(16_385) })
    expect(await failureOf(clientCredentialsGrant(provider))).toMatchObject({ kind: 'unusable' })
  })

  test('no refresh token and no kind of token that would not fit into a header', async () => {
    const { provider, answer } = await scripted()
    answer({ refresh_token: 'a b', issued_token_type: 'a\nb' })
    const tokens = await clientCredentialsGrant(provider)
    expect(tokens).not.toHaveProperty('refreshToken')
    expect(tokens).not.toHaveProperty('issuedTokenType')
  })

  test('what the errors of the preset mean, and no others', async () => {
    const { server, provider } = await scripted({ errors: { token_gone: 'invalid_grant' } })
    for (const [error, kind] of [
      ['token_gone', 'invalid_grant'],
      ['constructor', 'refused'],
    ]) {
      server.tokenAnswer = () => ({ status: 400, body: { error } })
      expect((await failureOf(refreshTokenGrant(provider, 'rt'))).kind).toBe(kind)
    }
  })
})
