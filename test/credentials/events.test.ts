/** What is told to whoever watches: enough to act on, once, and never a secret. */
import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Burst } from '../../src/credentials/upkeep/burst.js'
import { publish } from '../../src/events.js'
import {
  CredentialManager,
  Credentials,
  type CredentialsChanged,
  type DiagnosticsMessages,
  type OAuth2ClientOptions,
  requireOAuth,
} from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const CHANNELS = ['authorized', 'refreshed', 'refresh-failed', 'revoked', 'guard-refused', 'grants-dying'] as const

/** Everything that is told from now on, in its order. */
function watch(channels: readonly (keyof DiagnosticsMessages)[] = CHANNELS) {
  const told: [channel: string, message: unknown][] = []
  for (const name of channels) {
    const listener: ChannelListener = (message) => void told.push([name, message])
    subscribe(`fastify-oauth2client:${name}`, listener)
    onTestFinished(() => void unsubscribe(`fastify-oauth2client:${name}`, listener))
  }
  return told
}

async function scripted(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  return provider
}

async function start(options: TestAppOptions = {}, client: Partial<OAuth2ClientOptions> = {}) {
  const provider = await scripted()
  const changes: CredentialsChanged[] = []
  const app = await startApp({
    storage: memoryStore(),
    ...options,
    provider,
    client: { onCredentialsChanged: (event) => void changes.push(event), ...client },
    routes(server) {
      server.get('/users/:id', { onRequest: requireOAuth() }, async () => 'ok')
      server.post('/revoke', { onRequest: requireOAuth() }, ({ oauth2 }) => oauth2.revoke())
      server.get('/dies', { onRequest: requireOAuth() }, ({ oauth2 }) =>
        oauth2.getAccessToken({ rejected: token(app) }),
      )
    },
  })
  return { ...app, changes }
}

/** The newest access token of the provider. */
const token = ({ provider }: { provider: ScriptedProvider }) =>
  String(provider.secrets().findLast((secret) => secret.startsWith('at-')))

const alice = { client: 'oauth2', user: 'sub-alice', account: 'sub-alice' }
const base = ['openid', 'email']

describeEachSession((variant) => {
  test('a life of credentials, from the first refusal to the revocation, without a secret', async () => {
    const told = watch()
    const { url, browser, provider, clock, changes } = await start({ variant })
    await browser.goto(`${url}/users/7?secret=in-the-url`)
    clock.advance(HOUR + 1)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect((await browser.xhr(`${url}/files`)).status).toBe(403)
    expect((await browser.xhr(`${url}/revoke`, { method: 'POST' })).status).toBe(200)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    const nobody = { client: 'oauth2', user: undefined, code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }
    expect(told).toEqual([
      ['guard-refused', { ...nobody, route: '/users/:id' }],
      ['authorized', { ...alice, scopes: base }],
      ['refreshed', { ...alice, scopes: base }],
      [
        'guard-refused',
        { client: 'oauth2', user: 'sub-alice', code: 'FST_OAUTH2_INSUFFICIENT_SCOPE', route: '/files' },
      ],
      ['revoked', { ...alice, remote: 'revoked' }],
      ['guard-refused', { ...nobody, user: 'sub-alice', route: '/profile' }],
    ])
    expect(changes).toEqual([
      { ...alice, change: 'authorized', scopes: base },
      { ...alice, change: 'refreshed', scopes: base },
      { ...alice, change: 'revoked', remote: 'revoked', scopes: base },
    ])
    const text = inspect([told, changes], { depth: 10, showHidden: true })
    for (const secret of [...provider.secrets(), 'in-the-url']) expect(text).not.toContain(secret)
  })

  test('a sign-in is told where credentials are kept in the session too', async () => {
    const told = watch(['authorized'])
    const { url, browser, changes } = await start({ variant, storage: 'session' })
    await browser.goto(`${url}/profile`)
    const user = expect.stringMatching(/^session\//)
    expect(told).toEqual([['authorized', { ...alice, user, scopes: base }]])
    expect(changes).toEqual([{ ...alice, user, change: 'authorized', scopes: base }])
  })

  test.each(['store', 'session'] as const)('a grant that died: once, with the reason (%s)', async (storage) => {
    const told = watch(['refresh-failed', 'guard-refused', 'refreshed'])
    const { url, browser, provider, changes } = await start({
      variant,
      ...(storage === 'session' && { storage }),
    })
    await browser.goto(`${url}/profile`)
    told.length = 0
    provider.withdraw()
    expect((await browser.xhr(`${url}/dies`)).status).toBe(401)
    const user = storage === 'store' ? 'sub-alice' : expect.stringMatching(/^session\//)
    expect(told).toEqual([
      ['refresh-failed', { ...alice, user, code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', reason: 'refused' }],
      [
        'guard-refused',
        { client: 'oauth2', user: 'sub-alice', code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', route: '/dies' },
      ],
    ])
    expect(changes.slice(1)).toEqual([
      { ...alice, user, change: 'needs_reauthorization', reason: 'refused', scopes: base },
    ])
    for (const secret of provider.secrets()) expect(inspect([told, changes], { depth: 9 })).not.toContain(secret)
  })
})

test('a provider that is away is a refresh that failed, without a reason: nobody has to do anything', async () => {
  const told = watch(['refresh-failed'])
  const { app, url, browser, provider } = await start()
  await browser.goto(`${url}/profile`)
  provider.tokenAnswer = () => ({ status: 503, body: { error: 'rt-canary-of-the-provider' } })
  const users = await Promise.all([1, 2, 3].map(() => app.oauth2.user('sub-alice')))
  // Everybody waits for one refresh, which is told of once.
  await Promise.all(users.map((user) => user.getAccessToken({ rejected: token({ provider }) }).catch(() => {})))
  expect(told).toEqual([['refresh-failed', { ...alice, code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' }]])
})

test('a revocation that the provider could not be told about says so', async () => {
  const told = watch(['revoked'])
  const { app, url, browser, provider, changes } = await start()
  await browser.goto(`${url}/profile`)
  provider.revokeAnswer = () => ({ destroy: true })
  await app.oauth2.deleteUser('sub-alice')
  expect(told).toEqual([['revoked', { ...alice, remote: 'failed' }]])
  expect(changes.at(-1)).toEqual({ ...alice, change: 'revoked', remote: 'failed', scopes: base })
})

test('credentials without an identity have no account, and an adopted one was authorized', async () => {
  const told = watch()
  const { app } = await start()
  await (await app.oauth2.user('a/b')).adopt(Credentials.fromAccessToken('at-canary', { scopes: ['x'] }))
  expect(told).toEqual([['authorized', { client: 'oauth2', user: 'a/b', account: undefined, scopes: ['x'] }]])
})

describe('grants that die', () => {
  test('N6: ten within a minute are an alarm, on the channel and in the log, once', async () => {
    const told = watch(['grants-dying'])
    const { app, provider, clock, logs } = await start()
    const user = async (index: number) => {
      const stored = await app.oauth2.user(`u${index}`)
      await stored.adopt(
        new Credentials({ accessToken: `at-${index}`, refreshToken: `rt-${index}`, userId: `p${index}` }),
      )
      return stored
    }
    const users = await Promise.all(Array.from({ length: 25 }, (_, index) => user(index)))
    for (const [index, each] of users.entries()) {
      await each.getAccessToken({ rejected: `at-${index}` }).catch(() => {})
      if (index === 8) expect(told).toEqual([])
    }
    expect(provider.count('token', 'refresh_token')).toBe(25)
    expect(told).toEqual([['grants-dying', { client: 'oauth2', count: 10, seconds: 60 }]])
    const lines = logs.lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 50)
    expect(lines).toMatchObject([{ client: 'oauth2', count: 10, msg: expect.stringContaining('grants died') }])
    clock.advance(0)
  })

  test('people who revoke one by one are none; one that goes on is one a minute', () => {
    const clock = fakeClock(0)
    const alarms: [number, number][] = []
    const burst = new Burst(clock.now, (...alarm) => void alarms.push(alarm))
    for (let i = 0; i < 100; i += 1) {
      burst.add()
      clock.advance(6_700)
    }
    expect(alarms).toEqual([])
    for (let i = 0; i < 1_800; i += 1) {
      burst.add()
      clock.advance(100)
    }
    expect(alarms).toEqual([
      [10, 60],
      [10, 60],
      [10, 60],
    ])
  })
})

describe('listeners', () => {
  test.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('listener')
      },
    ],
    ['rejects', () => Promise.reject(new Error('listener'))],
    ['never ends', () => new Promise(() => {})],
  ])('onCredentialsChanged that %s breaks nothing', async (_name, onCredentialsChanged) => {
    const listener = vi.fn(onCredentialsChanged)
    const { app, url, browser, clock } = await start({}, { onCredentialsChanged: listener })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    clock.advance(HOUR + 1)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(await app.oauth2.deleteUser('sub-alice')).toMatchObject({ pending: 0 })
    expect(listener.mock.calls.map(([event]: unknown[]) => (event as CredentialsChanged).change)).toEqual([
      'authorized',
      'refreshed',
      'revoked',
    ])
  })

  test('a subscriber that throws breaks nothing; Node reports it as an uncaught exception, as of any channel', async () => {
    const uncaught: unknown[] = []
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => void uncaught.push(error))
    const failing: ChannelListener = () => {
      throw new Error('subscriber')
    }
    subscribe('fastify-oauth2client:authorized', failing)
    try {
      const { url, browser } = await start()
      expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    } finally {
      unsubscribe('fastify-oauth2client:authorized', failing)
      process.removeAllListeners('uncaughtException')
      for (const listener of others) process.on('uncaughtException', listener)
    }
    expect(uncaught).toMatchObject([{ message: 'subscriber' }])
  })

  test('without subscribers no message is made', () => {
    const make = vi.fn(() => ({ client: 'c', count: 1, seconds: 1 }))
    publish('grants-dying', make)
    expect(make).not.toHaveBeenCalled()
    const told = watch(['grants-dying'])
    publish('grants-dying', make)
    expect(told).toEqual([['grants-dying', { client: 'c', count: 1, seconds: 1 }]])
  })
})

test('a manager of its own tells the same as an app', async () => {
  const told = watch()
  const provider = await scripted()
  const manager = new CredentialManager({
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    name: 'worker',
    storage: memoryStore(),
  })
  const user = await manager.user('u')
  await user.adopt(new Credentials({ accessToken: 'at', refreshToken: 'rt', userId: 'p' }))
  await user.getAccessToken({ rejected: 'at' }).catch(() => {})
  await user.revoke()
  const subject = { client: 'worker', user: 'u', account: 'p' }
  expect(told).toEqual([
    ['authorized', { ...subject, scopes: [] }],
    ['refresh-failed', { ...subject, code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', reason: 'refused' }],
    ['revoked', { ...subject, remote: 'revoked' }],
  ])
})
