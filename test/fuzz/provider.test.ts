// What a provider answers, broken or malicious: a coded answer for the person, and nothing that was stored is lost.
import { inspect } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect } from 'vitest'
import { authorizationCodeGrant, authorizationUrl, Provider, ProviderFailure } from '../../src/flows/index.js'
import { OAuth2ClientError } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { fakeClock } from '../helpers/clock.js'
import { sessionVariants } from '../helpers/session-plugins.js'
import { type FuzzedApp, fuzzedApp } from './app.js'
import { fuzz } from './fuzz.js'
import { described, headerValue, hostileJson, hostileText, mutations } from './hostile.js'
import { CANARY, ISSUER, inProcessProvider, type Spoiled } from './in-process-provider.js'

const MEMBERS = [
  'access_token',
  'token_type',
  'expires_in',
  'refresh_token',
  'scope',
  'id_token',
  'error',
  'error_description',
]

const statuses = fc.constantFrom(200, 200, 200, 201, 204, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503)
const headers = fc.record(
  {
    'content-type': fc.constantFrom('text/html', 'application/problem+json', 'text/plain; charset=utf-16', ''),
    'www-authenticate': hostileText.map(headerValue),
    'retry-after': fc.oneof(
      fc.constantFrom('0', '1e9', '-1', 'Wed, 21 Oct 2099 07:28:00 GMT'),
      hostileText.map(headerValue),
    ),
    location: fc.constantFrom('https://evil.example/', '/token', 'javascript:alert(1)'),
    'dpop-nonce': hostileText.map(headerValue),
  },
  { requiredKeys: [] },
)

/** An answer in the place of a good one: mutated, with members exchanged, or something else altogether. */
function spoiled(members: readonly string[]) {
  const changed = fc.dictionary(fc.constantFrom(...members), hostileJson(members), { minKeys: 1, maxKeys: 3 })
  const body = fc.oneof(
    { weight: 3, arbitrary: mutations },
    {
      weight: 3,
      arbitrary: changed.map((other) =>
        described((good: string) => JSON.stringify({ ...JSON.parse(good), ...other }), other),
      ),
    },
    { weight: 1, arbitrary: hostileJson(members).map((value) => described(() => JSON.stringify(value) ?? '', value)) },
    { weight: 1, arbitrary: hostileText.map((text) => described(() => text, text)) },
  )
  return fc.tuple(body, statuses, headers).map((parts) => {
    const [change, status, extra] = parts
    return described((good: string): Spoiled => ({ status, headers: extra, body: change(good) }), parts)
  })
}

describe('a sign-in', () => {
  let app: FuzzedApp
  beforeEach(async () => {
    app = await fuzzedApp({ variant: sessionVariants[2] as NonNullable<(typeof sessionVariants)[2]> })
  })

  fuzz('token responses', spoiled(MEMBERS), async (spoil) => {
    const { browser, state } = await app.begun()
    let requests = 0
    app.provider.spoil = (path, body) => {
      if (path !== '/token') return undefined
      requests += 1
      return spoil(body)
    }
    const answer = await browser.get(`/oauth2callback?code=${CANARY}-code&state=${state}`)
    app.provider.spoil = undefined
    app.harmless(answer)
    expect(requests).toBe(1)
    expect(app.provider.requests.filter((url) => url.includes('evil'))).toEqual([])
    app.provider.requests.length = 0
    // Tokens that work, or nothing: never something in between.
    const profile = await browser.get('/profile', { accept: 'application/json' })
    app.harmless(profile)
    if (answer.status !== 303) expect(profile.status).not.toBe(200)
  })

  const claims = ['iss', 'aud', 'sub', 'exp', 'iat', 'nbf', 'nonce', 'azp', 'auth_time', 'acr', 'email', 'at_hash']
  const changed = fc.dictionary(fc.constantFrom(...claims), hostileJson(claims), { minKeys: 1, maxKeys: 2 })
  fuzz('ID tokens', changed, async (other) => {
    const { browser, state } = await app.begun()
    app.provider.claims = (good) => ({ ...good, ...other })
    const answer = await browser.get(`/oauth2callback?code=c&state=${state}`)
    app.provider.claims = undefined
    app.harmless(answer)
    const essential = ['iss', 'aud', 'nonce'].filter((name) => name in other)
    // Nobody is signed in by a token for somebody else; a list of the one right audience is as good as itself.
    if (essential.length > 0) expect(answer.status).toBe(502)
  })
})

describe('an account that is stored', () => {
  let app: FuzzedApp
  const clock = fakeClock()
  beforeEach(async () => {
    app = await fuzzedApp({ storage: memoryStore(), clock: clock.now })
  })

  let person = 0
  fuzz('answers to a refresh', spoiled(MEMBERS), async (spoil) => {
    const sub = `person-${person++}`
    app.provider.claims = (good) => ({ ...good, sub })
    const browser = await app.signedIn()
    clock.advance(7_200_000)
    const answers: Spoiled[] = []
    app.provider.spoil = (path, body) => {
      if (path !== '/token') return undefined
      const answer = spoil(body)
      answers.push(answer)
      return answer
    }
    const during = await browser.get('/token', { accept: 'application/json' })
    app.provider.spoil = undefined
    app.harmless(during)
    expect(answers).toHaveLength(1)
    if (during.status === 200) return
    expect([401, 403, 500, 502, 503], during.body).toContain(during.status)
    const [answer = {}] = answers
    // Only the provider's own word ends a grant, or that it is somebody else's.
    if (during.status === 401)
      expect(`${answer.body} ${answer.headers?.['www-authenticate']}`).toMatch(/invalid_grant|id_token/)
  })
})

describe('a provider that is looked up', () => {
  const members = [
    'issuer',
    'authorization_endpoint',
    'token_endpoint',
    'jwks_uri',
    'keys',
    'kty',
    'kid',
    'crv',
    'x',
    'alg',
  ]
  const where = fc.constantFrom('/.well-known', '/jwks')
  fuzz('metadata and keys', fc.tuple(where, spoiled(members)), async ([endpoint, spoil]) => {
    const spoiling = await inProcessProvider({ discovery: true })
    spoiling.spoil = (path, body) => (path.startsWith(endpoint) ? spoil(body) : undefined)
    const { clientId = '', ...options } = spoiling.options
    const provider = new Provider({ ...options, clientId, provider: options.provider ?? { issuer: ISSUER } })
    try {
      const { request } = await authorizationUrl(provider, {
        redirectUri: 'https://app.example/cb',
        scopes: ['openid'],
      })
      spoiling.nonce = request.nonce ?? ''
      await authorizationCodeGrant(provider, request, `?code=c&state=${request.state}`)
    } catch (error) {
      if (!(error instanceof ProviderFailure)) expect(error).toBeInstanceOf(OAuth2ClientError)
      expect(inspect(error, { depth: 5 })).not.toContain(CANARY)
    }
    for (const request of spoiling.requests) expect(request).toMatch(/^(GET|POST) (https:|http:\/\/localhost)/)
  })
})
