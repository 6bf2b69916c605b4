import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Provider, type ProviderFailure, refreshTokenGrant, revokeToken } from '../../src/flows/index.js'
import type { ProviderOptions } from '../../src/index.js'
import { isLoopback, isSecureUrl } from '../../src/provider/http.js'
import { type Answer, startScriptedProvider } from '../helpers/scripted-provider.js'

async function provided(timeout = 1000) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const { issuer, clientId, clientSecret } = server
  const seen: RequestInit[] = []
  const provider = new Provider({
    provider: { issuer },
    clientId,
    clientSecret: clientSecret as string,
    timeout,
    fetch: (input, init) => {
      seen.push(init as RequestInit)
      return fetch(input, init)
    },
  })
  await provider.configuration()
  return { server, provider, seen }
}

const failureOf = (provider: Provider, token = 'rt-canary-of-the-test') =>
  refreshTokenGrant(provider, token).then(
    () => expect.fail('this should have failed'),
    (error: ProviderFailure) => error,
  )

const huge = 'x'.repeat(1024 * 1024 + 1)
const json = { 'content-type': 'application/json' }

describe('limits', () => {
  test.each<[string, Answer, object]>([
    ['H4 1 MB and a byte', { headers: json, body: huge }, { kind: 'unusable', status: 200 }],
    [
      'H4 100 MB in a small gzip',
      { headers: { ...json, 'content-encoding': 'gzip' }, body: gzipSync(Buffer.alloc(1e8)) },
      { kind: 'unusable', status: 200 },
    ],
    ['no answer', { hang: true }, { kind: 'in_doubt', temporary: true }],
    ['a cut connection', { destroy: true }, { kind: 'in_doubt', temporary: true }],
    ['a redirect', { status: 307, headers: { location: '/elsewhere' }, body: '' }, { kind: 'refused', status: 307 }],
    [
      'a redirect that loses the body',
      { status: 302, headers: { location: '/elsewhere' }, body: '' },
      { kind: 'refused' },
    ],
  ])('%s', async (_name, answer, expected) => {
    const { server, provider } = await provided()
    server.tokenAnswer = () => answer
    const before = process.memoryUsage().rss
    expect(await failureOf(provider)).toMatchObject({ name: 'ProviderFailure', ...expected })
    expect(process.memoryUsage().rss - before).toBeLessThan(80 * 1024 * 1024)
    expect([server.count('token'), server.count('unknown')]).toEqual([1, 0])
  })

  test('a little less than 1 MB is read', async () => {
    const { server, provider } = await provided()
    server.tokenAnswer = () => ({
      body: { access_token: 'at', token_type: 'Bearer', expires_in: 60, extra: 'x'.repeat(1_000_000) },
    })
    expect(await refreshTokenGrant(provider, 'rt')).toMatchObject({ accessToken: 'at' })
  })

  test('the deadline covers the body', async () => {
    const { provider } = await provided()
    const slow = new Provider({
      provider: provider.options,
      clientId: 'x',
      timeout: 500,
      fetch: async (input, init) => {
        if (init?.method !== 'POST') return fetch(input, init)
        const body = new ReadableStream({
          start: (controller) => init.signal?.addEventListener('abort', () => controller.error(init.signal?.reason)),
        })
        return new Response(body, { headers: json })
      },
    })
    expect(await failureOf(slow)).toMatchObject({ kind: 'in_doubt' })
  })

  test('every call has a deadline and follows no redirect', async () => {
    const { provider, seen } = await provided()
    await failureOf(provider)
    await revokeToken(provider, 'rt')
    expect(seen.length).toBeGreaterThanOrEqual(3)
    for (const init of seen) expect(init).toMatchObject({ redirect: 'manual', signal: expect.any(AbortSignal) })
  })

  test('a global fetch that is replaced later is the one that is used', async () => {
    const spy = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('replaced'))
    onTestFinished(() => spy.mockRestore())
    const provider = new Provider({ provider: { issuer: 'https://issuer.example' }, clientId: 'x' })
    await expect(provider.configuration()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
    expect(spy).toHaveBeenCalledOnce()
  })
})

test('claims are those of an ID token that was verified: none, where the provider names no keys', async () => {
  const { server, provider } = await provided()
  const { issuer } = server
  const idToken = await server.sign({ iss: issuer, aud: server.clientId, sub: 'alice', iat: 1, exp: 9_999_999_999 })
  const [header, payload] = idToken.split('.')
  server.tokenAnswer = () => ({
    body: { access_token: 'at', token_type: 'Bearer', id_token: `${header}.${payload}.${'x'.repeat(342)}` },
  })
  expect((await failureOf(provider)).kind).toBe('unusable')
  const { authorization_endpoint, token_endpoint } = (await provider.metadata()) as Record<string, string>
  const keyless = new Provider({
    provider: { issuer, authorization_endpoint, token_endpoint } as ProviderOptions,
    clientId: server.clientId,
    clientSecret: server.clientSecret as string,
  })
  expect(await refreshTokenGrant(keyless, 'rt')).toEqual({ accessToken: 'at', tokenType: 'Bearer' })
})

describe('whether a request can have had an effect', () => {
  const cause = (code: string) => Object.assign(new Error('cause'), { code })
  test.each<[string, unknown, string]>([
    ['refused', cause('ECONNREFUSED'), 'unsent'],
    ['no such host', cause('ENOTFOUND'), 'unsent'],
    ['no connection in time', cause('UND_ERR_CONNECT_TIMEOUT'), 'unsent'],
    ['a bad certificate', cause('CERT_HAS_EXPIRED'), 'unsent'],
    ['every address refused', new AggregateError([cause('ECONNREFUSED'), cause('EHOSTUNREACH')]), 'unsent'],
    ['one address refused, one reset', new AggregateError([cause('ECONNREFUSED'), cause('ECONNRESET')]), 'in_doubt'],
    ['reset', cause('ECONNRESET'), 'in_doubt'],
    ['closed', cause('UND_ERR_SOCKET'), 'in_doubt'],
    ['something else', new Error('?'), 'in_doubt'],
    ['no error at all', 'canary', 'in_doubt'],
  ])('%s', async (_name, reason, kind) => {
    const { provider } = await provided()
    const broken = new Provider({
      provider: provider.options,
      clientId: 'x',
      fetch: (input, init) =>
        init?.method === 'POST' ? Promise.reject(new TypeError('fetch failed', { cause: reason })) : fetch(input, init),
    })
    expect((await failureOf(broken)).kind).toBe(kind)
  })
})

describe('what fails on this side is nothing that waiting helps against', () => {
  test('no refresh token', async () => {
    const { server, provider } = await provided()
    for (const none of ['', undefined, null]) {
      await expect(refreshTokenGrant(provider, none as string)).rejects.toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: expect.stringContaining('"refreshToken"'),
      })
    }
    expect(server.count('token')).toBe(0)
  })

  test('a client that cannot authenticate', async () => {
    const { server, provider } = await provided()
    const clientAuthentication = () => {
      throw new Error('no key')
    }
    const broken = new Provider({ provider: provider.options, clientId: 'x', clientAuthentication })
    expect(await failureOf(broken)).toMatchObject({ kind: 'client', temporary: false })
    expect(server.count('token')).toBe(0)
  })

  test('metadata without a token endpoint', async () => {
    const { server, provider } = await provided()
    server.metadata = ({ token_endpoint: _, ...metadata }) => metadata
    const lost = new Provider({ provider: provider.options, clientId: 'x' })
    expect(await failureOf(lost)).toMatchObject({
      code: 'FST_OAUTH2_PROVIDER_METADATA',
      message: expect.stringContaining('token_endpoint'),
    })
  })
})

describe('L3: errors are safe to log', () => {
  const canary = 'canary-of-the-provider'
  test.each<[string, Answer]>([
    ['an error with a description', { status: 400, body: { error: 'invalid_grant', error_description: canary } }],
    ['an error that is a token', { status: 400, body: { error: `${canary}-AT` } }],
    ['an error that is an object', { status: 400, body: { error: { message: canary } } }],
    ['a challenge', { status: 401, headers: { 'www-authenticate': `Bearer realm="${canary}"` }, body: {} }],
    ['HTML', { status: 500, body: `<h1>${canary}</h1>` }],
    ['tokens that cannot be used', { body: { access_token: canary, token_type: 'mac', refresh_token: canary } }],
    ['broken JSON', { headers: json, body: `{"access_token":"${canary}"` }],
    ['a redirect', { status: 302, headers: { location: `/x?code=${canary}` }, body: '' }],
    ['a cut connection', { destroy: true }],
  ])('%s', async (_name, answer) => {
    const { server, provider } = await provided()
    server.tokenAnswer = () => answer
    const failure = await failureOf(provider)
    const shown = inspect(failure, { depth: 20, showHidden: true, maxStringLength: null }) + JSON.stringify(failure)
    for (const secret of [canary, 'rt-canary-of-the-test', String(server.clientSecret)]) {
      expect(shown).not.toContain(secret)
    }
  })
})

describe('J11: revokeToken never rejects', () => {
  test.each<[string, Answer, string]>([
    ['200', { status: 200, body: '' }, 'revoked'],
    ['204', { status: 204 }, 'revoked'],
    ['a token that is gone', { status: 400, body: { error: 'invalid_token' } }, 'revoked'],
    ['a token that is not found', { status: 404, body: { error: 'token_not_found' } }, 'revoked'],
    ['400', { status: 400, body: { error: 'invalid_request' } }, 'failed'],
    ['503', { status: 503, body: {} }, 'failed'],
    ['a cut connection', { destroy: true }, 'failed'],
    ['no answer', { hang: true }, 'failed'],
    ['a redirect', { status: 302, headers: { location: '/' }, body: '' }, 'failed'],
  ])('%s: %s', async (_name, answer, outcome) => {
    const { server, provider } = await provided()
    server.revokeAnswer = () => answer
    for (const [hint, ...given] of [['refresh_token'], ['access_token', 'access_token']] as const) {
      expect(await revokeToken(provider, 'rt-canary', ...given)).toBe(outcome)
      const request = server.requests.at(-1)
      expect([request?.method, request?.url]).toEqual(['POST', '/revoke'])
      expect(request?.params).toMatchObject({ token: 'rt-canary', token_type_hint: hint })
    }
  })

  test('no endpoint', async () => {
    const { server, provider } = await provided()
    const fresh = new Provider({ provider: provider.options, clientId: 'x' })
    server.metadata = ({ revocation_endpoint: _, ...metadata }) => metadata
    expect(await revokeToken(fresh, 'rt')).toBe('unsupported')
  })

  test('metadata that cannot be had', async () => {
    const { server, provider } = await provided()
    const fresh = new Provider({ provider: provider.options, clientId: 'x' })
    server.discoveryAnswer = () => ({ status: 500, body: {} })
    expect(await revokeToken(fresh, 'rt')).toBe('failed')
  })
})

describe('plain HTTP', () => {
  test.each([
    ['localhost', true],
    ['app.localhost', true],
    ['127.0.0.1', true],
    ['127.1.2.3', true],
    ['[::1]', true],
    ['localhost.evil.example', false],
    ['notlocalhost', false],
    ['127.0.0.1.evil.example', false],
    ['10.0.0.1', false],
    ['0.0.0.0', false],
    ['[::]', false],
    ['', false],
  ])('%s is this machine: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected)
    if (host !== '') expect(isSecureUrl(new URL(`http://${host}/`))).toBe(expected)
    if (host !== '') expect(isSecureUrl(new URL(`https://${host}/`))).toBe(true)
  })

  test.each(['ftp://localhost', 'javascript:0', 'data:,x', 'file:///x', 'ws://localhost'])('%s is not HTTP', (url) => {
    expect(isSecureUrl(new URL(url))).toBe(false)
  })
})
