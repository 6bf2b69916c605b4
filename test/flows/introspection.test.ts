import { inspect } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { clientCredentialsGrant, introspectToken, Provider } from '../../src/flows/index.js'
import { google } from '../../src/provider/presets/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { type Answer, startScriptedProvider } from '../helpers/scripted-provider.js'

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('this should have failed'),
    (error: Error & { code?: string; kind?: string }) => error,
  )

async function scripted(answer?: Answer) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  if (answer) server.introspectAnswer = () => answer
  const { issuer, clientId, clientSecret } = server
  const registration = { clientId, clientSecret: clientSecret as string, timeout: 500 }
  return { server, provider: new Provider({ provider: { issuer }, ...registration }), registration }
}

test('CL-21 a real authorization server tells the scopes of a token, and nothing of one that it does not know', async () => {
  const server = await startAuthorizationServer({ scopes: { 'files.read': {} } })
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
  const { accessToken, expiresAt } = await clientCredentialsGrant(provider, { scopes: ['files.read'] })
  const found = await introspectToken(provider, accessToken)
  expect(found).toMatchObject({ active: true, scopes: ['files.read'], clientId })
  expect(Math.abs((found.expiresAt ?? 0) - (expiresAt ?? 0))).toBeLessThan(5_000)
  expect(await introspectToken(provider, 'unknown')).toEqual({ active: false, raw: { active: false } })
})

test('the token is posted by an authenticated client, with a hint', async () => {
  const { server, provider } = await scripted({ body: { active: true, scope: 'a,b', exp: '5', sub: 's', extra: 1 } })
  expect(await introspectToken(provider, 'rt-canary', 'refresh_token')).toEqual({
    active: true,
    scopes: ['a', 'b'],
    expiresAt: 5_000,
    subject: 's',
    raw: { active: true, scope: 'a,b', exp: '5', sub: 's', extra: 1 },
  })
  const { method, url, params } = server.requests.at(-1) ?? expect.fail()
  expect([method, url]).toEqual(['POST', '/introspect'])
  expect(params).toMatchObject({
    token: 'rt-canary',
    token_type_hint: 'refresh_token',
    client_secret: server.clientSecret,
  })
})

test('members of another type are only in what was sent', async () => {
  const raw = { active: true, scope: ['a'], exp: 'soon', client_id: 5, sub: { a: 1 } }
  const { provider } = await scripted({ body: raw })
  expect(await introspectToken(provider, 'at')).toEqual({ active: true, raw })
})

test.each([undefined, null, {}, { active: 'true', sub: 's' }, 'active'])(
  'a way of its own that finds %j has not said whether the token works',
  async (found) => {
    const { server, registration } = await scripted()
    const introspect = async () => found as Record<string, unknown>
    const provider = new Provider({ provider: { issuer: server.issuer, introspect }, ...registration })
    expect(await failureOf(introspectToken(provider, 'at'))).toMatchObject({
      name: 'ProviderFailure',
      kind: 'unusable',
    })
  },
)

test.each<[string, Answer, object]>([
  ['CL-21 bad JSON', { body: 'hello' }, { kind: 'unusable' }],
  ['no "active"', { body: { scope: 'a' } }, { kind: 'unusable' }],
  ['"active" that is a string', { body: { active: 'true' } }, { kind: 'unusable' }],
  ['CL-21 401', { status: 401, body: { error: 'invalid_client' } }, { kind: 'client' }],
  ['503', { status: 503, body: 'rt-canary' }, { kind: 'in_doubt' }],
  ['no answer', { hang: true }, { kind: 'in_doubt' }],
  ['1 MB', { body: { active: true, x: 'x'.repeat(1024 * 1024) } }, { kind: 'unusable' }],
])('%s is a failure, which does not show the token', async (_name, answer, expected) => {
  const { provider } = await scripted(answer)
  const failure = await failureOf(introspectToken(provider, 'rt-canary'))
  expect(failure).toMatchObject({ name: 'ProviderFailure', ...expected })
  expect(failure.message).toMatch(/^token introspection failed/)
  expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('canary')
})

test('without the endpoint, the preset may know another way: for access tokens, and not through an address', async () => {
  const { server, registration, provider } = await scripted()
  expect(await failureOf(introspectToken(provider, 'at'))).toMatchObject({
    code: 'FST_OAUTH2_PROVIDER_METADATA',
    message: expect.stringContaining(`${server.issuer} names no introspection_endpoint`),
  })

  const asGoogle = new Provider({ provider: google({ issuer: server.issuer }), ...registration })
  const tokenInfo = { azp: 'us', aud: 'us', sub: 's', scope: 'openid https://www.googleapis.com/auth/drive', exp: '7' }
  let answer = Response.json(tokenInfo)
  const seen: Request[] = []
  const scriptedFetch = new Provider({
    provider: google(),
    ...registration,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      if (request.url.includes('.well-known')) {
        return Response.json({ ...(await asGoogle.metadata()), issuer: 'https://accounts.google.com' })
      }
      seen.push(request)
      return answer.clone()
    },
  })
  expect(await introspectToken(scriptedFetch, 'at-canary')).toMatchObject({
    active: true,
    clientId: 'us',
    subject: 's',
    scopes: ['openid', 'https://www.googleapis.com/auth/drive'],
    expiresAt: 7_000,
  })
  expect([seen[0]?.method, seen[0]?.url]).toEqual(['POST', 'https://oauth2.googleapis.com/tokeninfo'])
  expect(seen[0]?.headers.get('authorization')).toBe('Bearer at-canary')

  answer = Response.json({ error: 'invalid_token' }, { status: 400 })
  expect(await introspectToken(scriptedFetch, 'at')).toEqual({ active: false, raw: { active: false } })
  answer = new Response('at-canary', { status: 503 })
  expect(await failureOf(introspectToken(scriptedFetch, 'at-canary'))).toMatchObject({ kind: 'in_doubt', status: 503 })
  expect(await failureOf(introspectToken(scriptedFetch, 'rt', 'refresh_token'))).toMatchObject({
    code: 'FST_OAUTH2_PROVIDER_METADATA',
  })
})

test('no token is no question', async () => {
  const { provider, server } = await scripted()
  expect(await failureOf(introspectToken(provider, ''))).toMatchObject({
    code: 'FST_OAUTH2_OPTION_INVALID',
    message: 'Option "token": must be a non-empty string.',
  })
  expect(server.requests).toEqual([])
})
