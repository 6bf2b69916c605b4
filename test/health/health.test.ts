import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import health, { type HealthRouteOptions } from '../../src/health/plugin.js'
import { fastifyOAuth2Client, NotRegisteredError, OptionError } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const ENCRYPTION_KEY = 'k'.repeat(32)

/** A store that several processes share: it can be listed, so it keeps the list of keys in use. */
function sharedStore() {
  const inner = memoryStore()
  const store = breakableStore({ ...inner, shared: true })
  return Object.assign(store, { list: inner.list })
}

async function start(route: HealthRouteOptions = {}, options: TestAppOptions = {}) {
  const store = sharedStore()
  const app = await startApp({
    storage: store,
    ...options,
    client: { encryptionKeys: ENCRYPTION_KEY, ...(options.client as object) },
    routes(server, provider) {
      server.register(health, { details: true, timeout: 300, ...route })
      options.routes?.(server, provider)
    },
  })
  const look = async () => {
    const response = await app.app.inject({ url: route.path ?? '/health/oauth2' })
    return [response.statusCode, response.json()] as const
  }
  return { ...app, store, look }
}

const all = (words: object) => ({ status: 'ok', clients: { oauth2: { status: 'ok', ...words } } })

test('all well', async () => {
  const { look, app, browser, url } = await start()
  expect(await look()).toEqual([200, all({ provider: 'ok', store: 'ok', keys: 'ok' })])
  await browser.goto(`${url}/profile`)
  expect(await app.oauth2.health()).toEqual({ status: 'ok', provider: 'ok', store: 'ok', keys: 'ok' })
})

test.each<[string, TestAppOptions]>([
  ['the session', { storage: 'session' }],
  ['a store of one process', { storage: memoryStore() }],
])('all well with credentials in %s', async (_name, options) => {
  const { look } = await start({}, options)
  const words = options.storage === 'session' ? { store: 'none', keys: 'ok' } : { store: 'ok', keys: 'unchecked' }
  expect(await look()).toEqual([200, all({ provider: 'ok', ...words })])
})

test('a provider that is down makes nobody restart or lose what works without it', async () => {
  const { look, provider, clock, app } = await start()
  await look()
  clock.advance(5_000)
  provider.jwksAnswer = () => ({ status: 503, body: {} })
  const degraded = { status: 'degraded', provider: 'down', store: 'ok', keys: 'ok' }
  expect(await look()).toEqual([200, { status: 'degraded', clients: { oauth2: degraded } }])
  await provider.close()
  clock.advance(5_000)
  expect(await app.oauth2.health()).toEqual(degraded)
})

test('where the provider is required, the app is not ready without it', async () => {
  const { look, provider } = await start({ providerRequired: true })
  provider.discoveryAnswer = () => ({ status: 500, body: {} })
  expect(await look()).toMatchObject([503, { status: 'degraded' }])
})

test('a provider that hangs is waited for no longer than that', async () => {
  const { look, provider } = await start({ timeout: 50 })
  provider.jwksAnswer = () => ({ hang: true })
  const startedAt = performance.now()
  expect(await look()).toMatchObject([200, { clients: { oauth2: { provider: 'down' } } }])
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

test('a store that is down, or hangs, takes the app out of service, and it comes back', async () => {
  const { look, store, clock } = await start({ timeout: 50 })
  store.failing = true
  const down = { status: 'down', provider: 'ok', store: 'down', keys: 'unchecked' }
  expect(await look()).toEqual([503, { status: 'down', clients: { oauth2: down } }])
  clock.advance(5_000)
  const { get } = store
  store.failing = false
  store.get = () => new Promise(() => {})
  expect(await look()).toMatchObject([503, { clients: { oauth2: { store: 'down' } } }])
  store.get = get
  clock.advance(5_000)
  expect(await look()).toMatchObject([200, { status: 'ok' }])
})

test('records that need a key which this process does not have', async () => {
  const store = sharedStore()
  const client = { encryptionKeys: ENCRYPTION_KEY }
  const old = await start({}, { storage: store, client })
  expect(await old.look()).toMatchObject([200, { status: 'ok' }])
  // The deployment after it seals with a new key, and this one was not told.
  const provider = old.provider
  const young = await start(
    {},
    { storage: store, provider, client: { encryptionKeys: ['n'.repeat(32), ENCRYPTION_KEY] } },
  )
  await young.browser.goto(`${young.url}/profile`)
  old.clock.advance(5_000)
  // Anybody who writes to the store can note a key: not all instances may go out of service for it.
  const words = { status: 'degraded', provider: 'ok', store: 'ok', keys: 'missing' }
  expect(await old.look()).toEqual([200, { status: 'degraded', clients: { oauth2: words } }])
  expect(await young.look()).toMatchObject([200, { clients: { oauth2: { keys: 'ok' } } }])
})

test('a storm of probes is one look, and none for five seconds after it, also while everything is down', async () => {
  const { look, provider, clock, store } = await start()
  const asked = () => provider.requests.filter(({ endpoint }) => endpoint === 'jwks' || endpoint === 'discovery').length
  await Promise.all(Array.from({ length: 50 }, look))
  expect(asked()).toBe(2)
  clock.advance(4_999)
  await look()
  expect(asked()).toBe(2)
  clock.advance(1)
  await look()
  expect(asked()).toBe(3)
  provider.jwksAnswer = () => ({ status: 500, body: {} })
  store.failing = true
  clock.advance(5_000)
  await Promise.all(Array.from({ length: 50 }, look))
  await look()
  expect(asked()).toBe(4)
})

test('what is asked of the store is a read, and of the provider nothing that needs our secret', async () => {
  const { app, look, store, provider } = await start()
  await app.ready()
  store.put = async () => expect.fail('written')
  store.delete = async () => expect.fail('deleted')
  await look()
  for (const { method, headers, url } of provider.requests) {
    expect(method).toBe('GET')
    expect(headers.authorization).toBeUndefined()
    expect(url).not.toContain('?')
  }
})

test('strangers get one word; who may see more is for the app to say', async () => {
  const { look, store } = await start({ details: false })
  expect(await look()).toEqual([200, { status: 'ok' }])
  store.failing = true
  const { app } = await start({ details: ({ headers }) => headers['x-operator'] === 'yes' })
  expect((await app.inject('/health/oauth2')).json()).toEqual({ status: 'ok' })
  const seen = await app.inject({ url: '/health/oauth2', headers: { 'x-operator': 'yes' } })
  expect(seen.json()).toHaveProperty('clients.oauth2.provider', 'ok')
  expect(seen.headers['cache-control']).toBe('no-store')
})

test('no URL, key or message of a store is in the answer', async () => {
  const { app, store, clock } = await start()
  store.get = async () => {
    throw new Error('connect ECONNREFUSED redis://user:password@10.0.0.1')
  }
  clock.advance(5_000)
  const { body } = await app.inject('/health/oauth2')
  expect(body).not.toMatch(/redis|password|10\.0|http|localhost|ECONN|kid/)
})

test('several clients: the worst word counts, and each is named', async () => {
  const store = sharedStore()
  const { look } = await start(
    {},
    {
      routes(server, provider) {
        server.register(fastifyOAuth2Client, {
          name: 'crm',
          provider: { issuer: provider.issuer },
          clientId: 'crm',
          clientSecret: 'secret',
          encryptionKeys: ENCRYPTION_KEY,
          storage: store,
        })
        server.register(health, { path: '/health/crm', clients: ['crm'], details: true })
      },
    },
  )
  store.failing = true
  expect(await look()).toMatchObject([
    503,
    { status: 'down', clients: { oauth2: { status: 'ok' }, crm: { status: 'down' } } },
  ])
})

test('a provider without keys and metadata to ask for is not asked', async () => {
  const { look, provider } = await start(
    {},
    {
      client: {
        provider: {
          issuer: 'https://github.test',
          authorization_endpoint: 'https://github.test/a',
          token_endpoint: 'https://github.test/t',
        },
      },
    },
  )
  expect(await look()).toMatchObject([200, { status: 'ok', clients: { oauth2: { provider: 'unchecked' } } }])
  expect(provider.requests).toEqual([])
})

test('a client that nobody registered is missed when the app starts, and so is an option that means nothing', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  app.register(health, { clients: ['crm'] })
  await expect(app.ready()).rejects.toThrow(NotRegisteredError)
  for (const options of [
    { pathname: '/x' },
    { timeout: 0.5 },
    { cacheMaxAge: -1 },
    { details: 'yes' },
    { clients: 'crm' },
  ]) {
    const other = Fastify()
    onTestFinished(() => other.close())
    other.register(health, options as never)
    await expect(other.ready(), JSON.stringify(options)).rejects.toThrow(OptionError)
  }
})

test('details that are decided later are not shown before', async () => {
  for (const [said, shown] of [
    [false, undefined],
    [true, all({ provider: 'ok', store: 'ok', keys: 'ok' }).clients],
  ] as const) {
    const { look } = await start({ details: async () => said })
    expect((await look())[1].clients).toEqual(shown)
  }
})

test('options of fastify.oauth2.health() are checked as those of the route are', async () => {
  const { app } = await start()
  await expect(app.oauth2.health({ cacheMaxAge: Number.NaN })).rejects.toThrow(OptionError)
  await expect(app.oauth2.health({ timeout: 'soon' as never })).rejects.toThrow(OptionError)
})
