import { trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CredentialManager } from '../../src/credentials/index.js'
import { Credentials, OptionError } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'
import { openTelemetry } from '../../src/telemetry/opentelemetry.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { altered, back, begin } from '../routes/flow.js'
import { startSdk } from './sdk.js'

const HOUR = 3_601_000
const shared = () => ({ ...memoryStore(), shared: true, name: 'memory', peek: undefined as never })

async function start(options: TestAppOptions = {}) {
  const sdk = startSdk()
  const store = breakableStore(shared())
  const app = await startApp({
    storage: store,
    ...options,
    client: (provider) => ({
      encryptionKeys: 'k'.repeat(32),
      refreshBeforeExpiry: 0,
      cacheMaxAge: 0,
      ...(typeof options.client === 'function' ? options.client(provider) : options.client),
    }),
  })
  return { ...app, sdk, store }
}

const named = (spans: ReadableSpan[], name: string) => spans.filter((span) => span.name === name)
const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId

describe('what an SDK is told that was started before the app', () => {
  test('guards: who passed, who was sent away, who was refused and why', async () => {
    const { browser, url, sdk, store, clock } = await start()
    await browser.xhr(`${url}/profile`)
    await browser.goto(`${url}/profile`)
    await browser.goto(`${url}/profile`)
    await browser.xhr(`${url}/files`)
    clock.advance(HOUR)
    store.failing = true
    await browser.xhr(`${url}/profile`)
    const { points, unit } = (await sdk.points())['oauth2client.guard.decisions'] ?? {}
    expect(unit).toBe('{decision}')
    const told = points?.map(({ attributes, count }) => [
      attributes['oauth2client.client'],
      attributes['oauth2client.guard.outcome'],
      attributes['error.type'],
      count,
    ])
    expect(new Set(told)).toEqual(
      new Set([
        ['oauth2', 'refused', 'FST_OAUTH2_CREDENTIALS_REQUIRED', 1],
        ['oauth2', 'redirected', 'FST_OAUTH2_CREDENTIALS_REQUIRED', 1],
        // The page that the sign-in led back to, and the one after it.
        ['oauth2', 'allowed', undefined, 2],
        ['oauth2', 'refused', 'FST_OAUTH2_INSUFFICIENT_SCOPE', 1],
        ['oauth2', 'refused', 'FST_OAUTH2_STORE_UNAVAILABLE', 1],
      ]),
    )
  })

  test('sign-ins: those that worked, and why others did not', async () => {
    const app = await start()
    await app.browser.goto(`${app.url}/profile`)
    const { callback } = await begin(app)
    await back(app, altered(callback, { state: 'x'.repeat(43) }))
    await back(app, altered((await begin(app)).callback, { error: 'access_denied', code: null }))
    const points = (await app.sdk.points())['oauth2client.sign_ins']?.points.map(({ attributes, count }) => [
      attributes['oauth2client.sign_in.outcome'],
      attributes['error.type'],
      count,
    ])
    expect(new Set(points)).toEqual(
      new Set([
        ['completed', undefined, 1],
        ['failed', 'FST_OAUTH2_STATE_INVALID', 1],
        ['failed', 'FST_OAUTH2_ACCESS_DENIED', 1],
      ]),
    )
  })

  test('a refresh is a span with the token request and the store in it', async () => {
    const { browser, url, sdk, clock } = await start()
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    const before = sdk.spans().length
    await browser.goto(`${url}/profile`)
    const spans = sdk.spans().slice(before)
    const [refresh, ...others] = named(spans, 'oauth2client.refresh')
    expect(others).toEqual([])
    const [token] = named(spans, 'oauth2client.provider token')
    expect(parentOf(token)).toBe(idOf(refresh))
    expect(token?.attributes).toMatchObject({
      'oauth2client.client': 'oauth2',
      'oauth2client.grant_type': 'refresh_token',
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'server.address': 'localhost',
    })
    const inside = spans.filter((span) => parentOf(span) === idOf(refresh)).map(({ name }) => name)
    expect(inside).toContain('oauth2client.store put')
    const points = await sdk.points()
    expect(points['oauth2client.refresh.duration']).toMatchObject({ unit: 's', points: [{ count: 1 }] })
    expect(points['oauth2client.refresh.failures']).toBeUndefined()
  })

  test('a refresh belongs to the span that is active when it begins', async () => {
    const { app, browser, url, sdk, clock } = await start()
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    const user = await app.oauth2.user('sub-alice')
    const parent = await trace.getTracer('test').startActiveSpan('a job', async (span) => {
      await user.getAccessToken()
      span.end()
      return span
    })
    const [refresh] = named(sdk.spans(), 'oauth2client.refresh')
    expect(parentOf(refresh)).toBe(parent.spanContext().spanId)
  })

  test('refreshes that fail: by code, and by the reason that only a person can help', async () => {
    const { browser, url, sdk, clock, provider } = await start()
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    provider.tokenAnswer = () => ({ status: 503, body: {} })
    await browser.xhr(`${url}/profile`)
    clock.advance(HOUR)
    provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
    await browser.xhr(`${url}/profile`)
    const points = await sdk.points()
    const told = points['oauth2client.refresh.failures']?.points.map(({ attributes }) => [
      attributes['error.type'],
      attributes['oauth2client.refresh.reason'],
    ])
    expect(told?.[0]).toEqual(['FST_OAUTH2_PROVIDER_UNAVAILABLE', undefined])
    const types = points['oauth2client.refresh.duration']?.points.map(({ attributes }) => attributes['error.type'])
    expect(types).toContain('FST_OAUTH2_PROVIDER_UNAVAILABLE')
    const tokens = named(sdk.spans(), 'oauth2client.provider token').map(({ attributes }) => attributes['error.type'])
    expect(tokens).toContain('503')
  })

  test('the reason of a grant that died', async () => {
    const { browser, url, sdk, clock, provider } = await start()
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
    await browser.xhr(`${url}/profile`)
    const [point] = (await sdk.points())['oauth2client.refresh.failures']?.points ?? []
    expect(point?.attributes).toMatchObject({
      'error.type': 'FST_OAUTH2_CREDENTIALS_REQUIRED',
      'oauth2client.refresh.reason': 'refused',
    })
  })

  test('every kind of request to the provider, and none to an API behind it', async () => {
    const { app, browser, url, sdk } = await start()
    await browser.goto(`${url}/profile`)
    await browser.goto(`${url}/api`)
    await (await app.oauth2.user('sub-alice')).revoke()
    const asked = named(sdk.spans(), 'oauth2client.provider token')
    expect(asked.map(({ attributes }) => attributes['oauth2client.grant_type'])).toEqual(['authorization_code'])
    const names = new Set(sdk.spans().map(({ name }) => name))
    for (const endpoint of ['discovery', 'jwks', 'revocation'])
      expect(names).toContain(`oauth2client.provider ${endpoint}`)
    const [callback] = named(sdk.spans(), 'oauth2client.callback')
    expect(parentOf(asked[0])).toBe(idOf(callback))
    const { points = [] } = (await sdk.points())['oauth2client.provider.request.duration'] ?? {}
    const told = points.reduce((sum, { count }) => sum + count, 0)
    expect(told).toBe(sdk.spans().filter(({ name }) => name.startsWith('oauth2client.provider ')).length)
  })

  test('calls of the store: by operation, with the class of what went wrong', async () => {
    const { browser, url, sdk, store } = await start()
    await browser.goto(`${url}/profile`)
    store.failing = 'get'
    await browser.xhr(`${url}/profile`)
    const { points = [], unit } = (await sdk.points())['oauth2client.store.operation.duration'] ?? {}
    expect(unit).toBe('s')
    const told = points.map(({ attributes }) => [
      attributes['oauth2client.store.operation'],
      attributes['oauth2client.store.name'],
      attributes['error.type'],
    ])
    expect(told).toContainEqual(['get', 'custom', undefined])
    expect(told).toContainEqual(['put', 'custom', undefined])
    expect(told).toContainEqual(['get', 'custom', 'Error'])
  })

  test('a store that works is what it was: at hand, with its name, its leases and its list', async () => {
    const { browser, url, sdk, app } = await start({ storage: memoryStore() })
    await browser.goto(`${url}/profile`)
    await browser.goto(`${url}/profile`)
    expect((await app.oauth2.sweep()).users).toBe(1)
    const { points = [] } = (await sdk.points())['oauth2client.store.operation.duration'] ?? {}
    expect(new Set(points.map(({ attributes }) => attributes['oauth2client.store.name']))).toEqual(new Set(['memory']))
  })
})

test('L3: no secret, no user, no scope and no URL is in any span or metric', async () => {
  const app = await start()
  const { browser, url, sdk, clock, provider, store } = app
  await browser.goto(`${url}/profile`)
  await browser.goto(`${url}/files`)
  for (const status of [400, 401, 429, 500]) {
    clock.advance(HOUR)
    provider.tokenAnswer = (params) => ({
      status,
      headers: { 'www-authenticate': `Bearer error="${params.refresh_token}"` },
      body: { error: Object.values(params).join(' '), error_description: Object.values(params).join(' ') },
    })
    await browser.goto(`${url}/api`)
    await back(app, (await begin(app)).callback)
    clock.advance(61_000)
  }
  provider.tokenAnswer = undefined
  store.failing = true
  await browser.goto(`${url}/api`)
  const text = await sdk.text()
  expect(text.length).toBeGreaterThan(5_000)
  const secrets = provider.secrets().filter((secret) => secret.length >= 8)
  expect(secrets.length).toBeGreaterThan(10)
  expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
  for (const word of ['alice', 'files.read', 'http://', 'https://', '?', 'stack', 'exception']) {
    expect([word, text.includes(word)]).toEqual([word, false])
  }
})

test('the real authorization server: a sign-in and a refresh are told of', async () => {
  const server = await startAuthorizationServer({ autoApprove: { user: 'alice' } })
  onTestFinished(() => server.close())
  const client = { clientId: server.clientId, clientSecret: server.clientSecret, provider: { issuer: server.issuer } }
  const { browser, url, sdk, clock } = await start({ client })
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  clock.advance(HOUR * 24)
  await browser.goto(`${url}/profile`)
  const types = named(sdk.spans(), 'oauth2client.provider token').map(
    ({ attributes }) => attributes['oauth2client.grant_type'],
  )
  expect(types[0]).toBe('authorization_code')
  expect((await sdk.points())['oauth2client.sign_ins']?.points[0]?.count).toBeGreaterThanOrEqual(1)
})

test('whoever watches and fails changes nothing', async () => {
  const fail = (): never => {
    throw new Error('of the watch')
  }
  const afterwards = async <T>(run: () => Promise<T>): Promise<T> => {
    await run()
    return fail()
  }
  const watch = {
    guard: fail,
    signIn: fail,
    refreshFailed: fail,
    refresh: afterwards,
    callback: fail,
    store: (_call: unknown, run: () => Promise<unknown>) => afterwards(run) as never,
    request: (_request: unknown, run: () => Promise<Response>) => afterwards(run),
  }
  const { browser, url, clock, provider } = await start({ client: { telemetry: { watch: () => watch } } })
  provider.refreshTokenPolicy = 'rotate'
  for (let times = 0; times < 3; times += 1) {
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    clock.advance(HOUR)
  }
  expect(provider.count('token', 'authorization_code')).toBe(1)
  expect(provider.count('token', 'refresh_token')).toBe(2)
})

test('telemetry: false tells nobody', async () => {
  const { browser, url, sdk } = await start({ client: { telemetry: false } })
  await browser.goto(`${url}/profile`)
  expect([sdk.spans(), await sdk.points()]).toEqual([[], {}])
})

test('without an SDK nothing is watched', async () => {
  const { app, browser, url } = await startApp()
  await browser.goto(`${url}/profile`)
  expect(app.oauth2[kClient].options.watch).toBeUndefined()
})

test('a program without Fastify, with providers of its own', async () => {
  const sdk = startSdk()
  const telemetry = await openTelemetry()
  const manager = new CredentialManager({
    provider: { issuer: 'https://login.example.com' },
    clientId: 'web',
    clientSecret: 'its secret',
    storage: memoryStore(),
    name: 'crm',
    telemetry,
  })
  const bob = await manager.user('bob')
  await bob.adopt(new Credentials({ accessToken: 'a-token', expiresAt: Date.now() + 60_000, userId: 'bob' }))
  const { points = [] } = (await sdk.points())['oauth2client.store.operation.duration'] ?? {}
  expect(points[0]?.attributes).toMatchObject({ 'oauth2client.client': 'crm', 'oauth2client.store.name': 'memory' })
})

test('an option that is no telemetry is refused when the app starts', async () => {
  await expect(startApp({ client: { telemetry: true as never } })).rejects.toThrow(OptionError)
})
