/** A user leaves: nothing of theirs may stay behind, here or at a provider, whatever fails on the way. */
import type { FastifyRequest } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, {
  CredentialManager,
  type CredentialStore,
  Credentials,
  type CredentialsChanged,
  deleteUser,
} from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { optionsFor, serve } from '../plugin/serve.js'

const KEY = 'the key of this test, and of no other one'
const byHeader = ({ headers }: FastifyRequest) => headers['x-user'] as string | undefined
const as = (user: string) => ({ headers: { 'x-user': user } })

async function scripted(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  return provider
}

const live = (map: Map<string, MemoryEntry>) =>
  [...map].filter(([, { value }]) => value !== undefined).map(([key, { value }]) => [key, value] as const)
const keysOf = (map: Map<string, MemoryEntry>) => live(map).map(([key]) => key)

/** One who connected two accounts, in a store that can break. */
async function connected() {
  const provider = await scripted()
  const map = new Map<string, MemoryEntry>()
  const inner = memoryStore({ map })
  const store = Object.assign(breakableStore(inner), { list: inner.list })
  const changes: CredentialsChanged[] = []
  const client = {
    encryptionKeys: KEY,
    userKey: byHeader,
    onCredentialsChanged: (event: CredentialsChanged) => void changes.push(event),
  }
  const web = await startApp({
    provider,
    storage: store,
    client,
    routes(app) {
      app.get('/another', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.authorizeUrl('/', { account: 'new' }))
    },
  })
  const connect = async (user: string, ...people: string[]) => {
    for (const [index, person] of people.entries()) {
      provider.user = person
      const link = index === 0 ? '/profile' : (await web.browser.xhr(`${web.url}/another`, as(user))).body
      expect((await web.browser.goto(web.url + link, as(user))).status).toBe(200)
    }
  }
  await connect('u1', 'alice', 'bob')
  await connect('u2', 'carol')
  changes.length = 0
  /** As after a restart: nothing but the store is left. */
  const restarted = () =>
    new CredentialManager({
      provider: { issuer: provider.issuer },
      clientId: provider.clientId,
      clientSecret: provider.clientSecret as string,
      storage: inner,
      encryptionKeys: KEY,
    })
  const refreshTokens = () => provider.secrets().filter((secret) => secret.startsWith('rt-'))
  return { ...web, provider, map, store, changes, restarted, refreshTokens }
}

const down = () => ({ status: 503, body: {} })

test('all accounts of a user go, here and at the provider, and nobody else notices', async () => {
  const { app, provider, map, browser, url, changes } = await connected()
  const others = live(map).filter(([key]) => key === 'user/oauth2/u2')
  expect(await app.oauth2.deleteUser('u1')).toEqual({
    accounts: [
      { id: 'sub-alice', remote: 'revoked' },
      { id: 'sub-bob', remote: 'revoked' },
    ],
    pending: 0,
  })
  const sent = provider.requests.filter(({ endpoint }) => endpoint === 'revoke').map(({ params }) => params)
  expect(sent.map(({ token, token_type_hint }) => [token?.slice(0, 3), token_type_hint])).toEqual([
    ['rt-', 'refresh_token'],
    ['rt-', 'refresh_token'],
  ])
  expect(changes).toMatchObject([
    { change: 'revoked', user: 'u1', account: 'sub-alice', remote: 'revoked' },
    { change: 'revoked', user: 'u1', account: 'sub-bob', remote: 'revoked' },
  ])
  expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(401)
  expect((await browser.xhr(`${url}/profile`, as('u2'))).json()).toMatchObject({ user: 'sub-carol' })
  expect(live(map).filter(([key]) => key === 'user/oauth2/u2')).toEqual(others)
  expect(await app.oauth2.deleteUser('u1')).toEqual({ accounts: [], pending: 0 })
  expect(provider.count('revoke')).toBe(2)
})

test('what stays in the store says nothing of the user: digests that keep old sessions from bringing them back', async () => {
  const { app, map } = await connected()
  await app.oauth2.deleteUser('u2')
  await app.oauth2.deleteUser('u1')
  const left = live(map)
  expect(left).toHaveLength(2)
  for (const [key, value] of left) {
    expect([key, value]).toEqual([expect.stringMatching(/^moved\/oauth2\/[\w-]{43}$/), 'forbidden'])
  }
  // Tombstones are names without values, which the store lets go of by itself.
  for (const [key, { value }] of map) if (/u1|alice|bob/.test(key)) expect([key, value]).toEqual([key, undefined])
})

test('somebody who was deleted can come again, as anybody can', async () => {
  const { app, browser, url, provider } = await connected()
  await app.oauth2.deleteUser('u1')
  provider.user = 'alice'
  expect((await browser.goto(`${url}/profile`, as('u1'))).json()).toMatchObject({ user: 'sub-alice' })
  expect((await app.oauth2.user('u1')).accounts()).toHaveLength(1)
})

describe('a provider that is away', () => {
  test('is told later: sealed until then, by a sweep of a process that was started since', async () => {
    const { app, provider, map, restarted, refreshTokens, changes } = await connected()
    const [alice, bob] = refreshTokens()
    provider.revokeAnswer = down
    expect(await app.oauth2.deleteUser('u1')).toEqual({
      accounts: [
        { id: 'sub-alice', remote: 'failed' },
        { id: 'sub-bob', remote: 'failed' },
      ],
      pending: 2,
    })
    expect(changes.map(({ remote }) => remote)).toEqual(['failed', 'failed'])
    expect((await app.oauth2.user('u1')).credentials).toBeNull()
    expect(keysOf(map).filter((key) => key.startsWith('revoke/'))).toHaveLength(1)
    const text = JSON.stringify(live(map))
    for (const secret of [...provider.secrets(), 'alice', 'bob']) expect(text).not.toContain(secret)
    const later = restarted()
    expect(await later.sweep()).toMatchObject({ revoked: 0, revocationsPending: 2 })
    // The provider comes back, but not for everybody at once.
    provider.revokeAnswer = ({ token }) => (token === bob ? down() : undefined)
    expect(await restarted().sweep()).toMatchObject({ revoked: 1, revocationsPending: 1 })
    provider.revokeAnswer = undefined
    expect(await restarted().sweep()).toMatchObject({ revoked: 1, revocationsPending: 0 })
    expect(keysOf(map).filter((key) => key.startsWith('revoke/'))).toEqual([])
    const told = provider.requests.filter(({ endpoint }) => endpoint === 'revoke').slice(-1)
    expect(told.map(({ params }) => params.token)).toEqual([bob])
    expect(alice).not.toBe(bob)
    expect(await restarted().sweep()).toMatchObject({ revoked: 0, revocationsPending: 0 })
  })

  test('and that cannot revoke at all is not asked for ever', async () => {
    const { app, provider, map } = await connected()
    provider.metadata = ({ revocation_endpoint: _, ...metadata }) => metadata
    const manager = new CredentialManager({
      provider: { issuer: provider.issuer },
      clientId: provider.clientId,
      clientSecret: provider.clientSecret as string,
      storage: memoryStore({ map }),
      encryptionKeys: KEY,
    })
    expect(await manager.deleteUser('u1')).toMatchObject({ accounts: [{ remote: 'unsupported' }, {}], pending: 0 })
    expect(keysOf(map).filter((key) => key.startsWith('revoke/'))).toEqual([])
    expect((await app.oauth2.user('u1')).credentials).toBeNull()
  })

  test('and keys that were replaced meanwhile: what waits is sealed anew by each sweep', async () => {
    const { app, provider, map } = await connected()
    provider.revokeAnswer = down
    await app.oauth2.deleteUser('u1')
    const young = 'another key, which is the first one by now'
    const managerWith = (...encryptionKeys: string[]) =>
      new CredentialManager({
        provider: { issuer: provider.issuer },
        clientId: provider.clientId,
        clientSecret: provider.clientSecret as string,
        storage: memoryStore({ map }),
        encryptionKeys,
      })
    expect(await managerWith(young, KEY).sweep()).toMatchObject({ revocationsPending: 2 })
    provider.revokeAnswer = undefined
    expect(await managerWith(young).sweep()).toMatchObject({ revoked: 2, unreadable: 0 })
    // A key that is lost for good leaves something that a sweep counts, and passes by.
    provider.revokeAnswer = down
    await (await app.oauth2.user('u3')).adopt(Credentials.fromAccessToken('t', { userId: 'c' }))
    await app.oauth2.deleteUser('u3')
    expect(await managerWith(young).sweep()).toMatchObject({ unreadable: 1, revocationsPending: 0 })
  })
})

test.each([
  ['stay', 'always'],
  ['are replaced', 'rotate'],
] as const)(
  'a grant that only an access token ends, where refresh tokens %s: each try goes on with the one that is good by then',
  async (_name, policy) => {
    const provider = await scripted()
    provider.refreshTokenPolicy = policy
    const asked: string[] = []
    let ends = false
    const revoke = async ({ accessToken }: { accessToken: string }) => {
      asked.push(accessToken)
      return ends
    }
    const { issuer, clientId, clientSecret } = provider
    const client = {
      provider: { issuer, revoke },
      clientId,
      clientSecret: clientSecret as string,
      storage: memoryStore(),
      encryptionKeys: KEY,
    }
    const { app, browser, url } = await startApp({ provider, storage: client.storage, client })
    await browser.goto(`${url}/profile`)
    provider.tokenAnswer = down
    expect(await app.oauth2.deleteUser('sub-alice')).toMatchObject({ pending: 1 })
    expect(asked).toEqual([])
    provider.tokenAnswer = undefined
    for (const tries of [1, 2]) {
      expect(await new CredentialManager(client).sweep()).toMatchObject({ revoked: 0, revocationsPending: 1 })
      expect(asked.filter((token) => provider.isValidAccessToken(token))).toHaveLength(tries)
    }
    ends = true
    expect(await new CredentialManager(client).sweep()).toMatchObject({ revoked: 1, revocationsPending: 0 })
    const refreshes = provider.requests.filter(({ params }) => params.grant_type === 'refresh_token')
    // The first was asked for while the provider was down.
    expect(new Set(refreshes.slice(1).map(({ params }) => params.refresh_token)).size).toBe(policy === 'rotate' ? 3 : 1)
  },
)

test.each(['after', 'before'] as const)(
  'a refresh that is under way (%s its answer) leaves nothing alive',
  async (when) => {
    const { app, provider, map, restarted } = await connected()
    provider.refreshTokenPolicy = 'rotate'
    const other = restarted()
    const user = await other.user('u1')
    const { token: rejected } = await user.getAccessToken()
    const held = provider.hold('token', when)
    const refreshing = user.getAccessToken({ rejected }).catch((error) => error)
    await held.arrived()
    // Held before its effect, the refresh would still be possible after the revocation: the provider refuses it then.
    expect(await app.oauth2.deleteUser('u1')).toMatchObject({ pending: 0 })
    held.release()
    expect(await refreshing).toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
    expect(keysOf(map).filter((key) => key.includes('u1'))).toEqual([])
    for (const secret of provider.secrets().filter((text) => text.startsWith('at-'))) {
      if (secret !== rejected && !(await carols(app)).includes(secret)) {
        expect(provider.isValidAccessToken(secret)).toBe(false)
      }
    }
  },
)

const carols = async (app: Awaited<ReturnType<typeof connected>>['app']) =>
  String((await app.oauth2.user('u2')).credentials?.accessToken)

describe('what cannot be read', () => {
  test('is kept, and the call says so; with evenUnreadable it goes, and the provider cannot be told', async () => {
    const { app, provider, map, restarted } = await connected()
    const entry = map.get('user/oauth2/u1') as MemoryEntry
    map.set('user/oauth2/u1', { ...entry, value: `${entry.value?.slice(0, -6)}AAAAAA` })
    const before = live(map)
    for (const manager of [app.oauth2, restarted()]) {
      await expect(manager.deleteUser('u1')).rejects.toMatchObject({
        code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE',
        statusCode: 503,
      })
    }
    expect(live(map)).toEqual(before)
    expect(await app.oauth2.deleteUser('u1', { evenUnreadable: true })).toEqual({ accounts: [], pending: 0 })
    expect(keysOf(map)).not.toContain('user/oauth2/u1')
    expect(keysOf(map)).toContain('user/oauth2/u2')
    expect(provider.count('revoke')).toBe(0)
  })

  test('is not served from memory once it is gone', async () => {
    const { app, map, browser, url, store } = await connected()
    expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(200)
    const entry = map.get('user/oauth2/u1') as MemoryEntry
    map.set('user/oauth2/u1', { ...entry, value: 'damaged' })
    await app.oauth2.deleteUser('u1', { evenUnreadable: true })
    expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(401)
    store.failing = true
    expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(503)
  })
})

describe('a store that fails', () => {
  test.each(['get', 'put', 'delete', true] as const)(
    'at %s: nothing is deleted, and nothing is revoked, then or later',
    async (failing) => {
      const { app, provider, store, restarted, browser, url } = await connected()
      store.failing = failing
      await expect(app.oauth2.deleteUser('u1')).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
      store.failing = false
      expect((await restarted().user('u1')).accounts()).toHaveLength(2)
      expect(await restarted().sweep()).toMatchObject({ revoked: 0, revocationsPending: 0 })
      expect(provider.count('revoke')).toBe(0)
      expect((await browser.xhr(`${url}/profile`, as('u1'))).status).toBe(200)
      expect(await app.oauth2.deleteUser('u1')).toMatchObject({ accounts: [{}, {}], pending: 0 })
    },
  )

  test('once the user is gone does not hide that: what is left over, a sweep takes away', async () => {
    const { app, provider, store, restarted, map } = await connected()
    provider.revokeAnswer = async (_params, defaults) => {
      store.failing = true
      return defaults()
    }
    expect(await app.oauth2.deleteUser('u1')).toMatchObject({ accounts: [{ remote: 'revoked' }, {}], pending: 0 })
    store.failing = false
    provider.revokeAnswer = undefined
    await restarted().sweep()
    expect(keysOf(map).filter((key) => key.startsWith('revoke/'))).toEqual([])
  })
})

test('deleteUser(fastify, key) reaches every client of the app, in whatever context it is', async () => {
  const [one, two, three] = [await scripted(), await scripted(), await scripted()]
  const store: CredentialStore = memoryStore()
  const options = { storage: store, userKey: byHeader }
  const { app } = await serve((root) => {
    root.register(oauth2Client, optionsFor(one, options))
    root.register(oauth2Client, optionsFor(two, { ...options, name: 'crm' }))
    root.register(async (child) => {
      child.register(oauth2Client, optionsFor(three, { ...options, name: 'inner' }))
    })
    root.register(async (child) => {
      // The same name as another one has, with a store of its own.
      child.register(oauth2Client, optionsFor(two, { ...options, storage: memoryStore(), routes: false }))
      child.get('/adopt', async () => {
        await (await child.oauth2.user('u1')).adopt(Credentials.fromAccessToken('child', { userId: 'c' }))
        return deleteUser(child, 'nobody')
      })
    })
    root.register(oauth2Client, optionsFor(one, { name: 'inSessions' }))
  })
  expect((await app.inject('/adopt')).json()).toEqual({
    oauth2: { accounts: [], pending: 0 },
    crm: { accounts: [], pending: 0 },
    inner: { accounts: [], pending: 0 },
  })
  const managerOf = (provider: ScriptedProvider, name: string) =>
    new CredentialManager({
      provider: { issuer: provider.issuer },
      clientId: provider.clientId,
      clientSecret: provider.clientSecret as string,
      name,
      storage: store,
    })
  const places = [managerOf(one, 'oauth2'), managerOf(two, 'crm'), managerOf(three, 'inner')]
  for (const manager of places) {
    for (const user of ['u1', 'u2']) {
      await (await manager.user(user)).adopt(Credentials.fromAccessToken('t', { userId: `of-${manager.name}` }))
    }
  }
  const outcomes = await deleteUser(app, 'u1')
  const ids = Object.entries(outcomes).map(([name, { accounts }]) => [name, accounts.map(({ id }) => id)])
  expect(Object.fromEntries(ids)).toEqual({ oauth2: ['of-oauth2', 'c'], crm: ['of-crm'], inner: ['of-inner'] })
  for (const manager of places) {
    expect((await manager.user('u1')).credentials).toBeNull()
    expect((await manager.user('u2')).credentials).not.toBeNull()
  }
})

test('with storage: session there is nothing to delete, and one client that is asked for it says so', async () => {
  const { app } = await startApp()
  expect(await deleteUser(app, 'sub-alice')).toEqual({})
  await expect(app.oauth2.deleteUser('sub-alice')).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_REQUIRED' })
})
