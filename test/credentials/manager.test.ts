/** Stored credentials in programs without Fastify, next to the web app that they came from. */
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { CredentialManager, type CredentialManagerOptions, Credentials } from '../../src/credentials/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { type Compiled, compileSources, ended } from '../helpers/processes.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

const KEY = 'the key of the web app and of the worker'
const SECRETS = ['rt-canary', 'at-canary', 'secret-canary', KEY]

async function scripted(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  return provider
}

function optionsOf(provider: ScriptedProvider, options: Partial<CredentialManagerOptions> = {}) {
  return {
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    storage: memoryStore(),
    encryptionKeys: KEY,
    ...options,
  }
}

/** Where nothing but a sign-in of Alice's happened. */
async function signedIn(options: Partial<CredentialManagerOptions> = {}) {
  const provider = await scripted()
  const common = optionsOf(provider, options)
  const web = await startApp({ provider, storage: common.storage, client: { encryptionKeys: KEY } })
  await web.browser.goto(`${web.url}/profile`)
  return { provider, web, manager: new CredentialManager(common) }
}

describe('a worker that knows nothing of the web', () => {
  let compiled: Compiled
  beforeAll(async () => {
    compiled = await compileSources(['src/credentials/index', 'src/storage/sql', 'src/storage/sqlite'])
  }, 60_000)
  afterAll(() => compiled.remove())

  /** One that answers each message before it gets the next. */
  class Worker {
    readonly #child: ChildProcess
    #answered: { resolve: (result: never) => void; reject: (error: Error) => void } | undefined
    #asked: () => void = () => {}
    /** Resolves once it has asked for a refresh. */
    readonly asked = new Promise<void>((resolve) => {
      this.#asked = resolve
    })

    constructor(child: ChildProcess) {
      this.#child = child
      child.on('message', (message: { asked?: true; result?: never; error?: string }) => {
        if (message.asked) this.#asked()
        else if (message.error !== undefined) this.#answered?.reject(new Error(message.error))
        else this.#answered?.resolve(message.result as never)
      })
      ended(child).then(({ output }) => this.#answered?.reject(new Error(`the worker ended: ${output}`)))
    }

    answer<T>(): Promise<T> {
      return new Promise((resolve, reject) => {
        this.#answered = { resolve, reject }
      })
    }

    tell<T>(name: string, options: object = {}): Promise<T> {
      this.#child.send({ name, ...options })
      return this.answer<T>()
    }
  }

  async function both(): Promise<{ provider: ScriptedProvider; web: TestApp; worker: Worker }> {
    const directory = await mkdtemp(join(tmpdir(), 'worker-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const path = join(directory, 'credentials.sqlite')
    const db = await openSqlite({ path })
    onTestFinished(() => db.destroy())
    await createCredentialTables(db)
    const provider = await scripted()
    const web = await startApp({ provider, storage: sqlStore({ db }), client: { encryptionKeys: KEY, cacheMaxAge: 0 } })
    await web.browser.goto(`${web.url}/profile`)
    const { storage: _, ...options } = optionsOf(provider)
    const script = fileURLToPath(new URL('worker.mjs', import.meta.url))
    const child = compiled.start(script, { path, options }, { talk: true })
    onTestFinished(() => void child.kill())
    const worker = new Worker(child)
    await worker.answer()
    return { provider, web, worker }
  }

  test('uses, refreshes, adopts and revokes what the web app keeps, and the web app what it does', async () => {
    const { provider, web, worker } = await both()
    const { app, browser, url } = web
    const token = async (user: string) => (await app.oauth2.user(user)).credentials?.accessToken
    expect(await worker.tell('fetch', { user: 'sub-alice', url: `${provider.issuer}/api/things` })).toMatchObject({
      status: 200,
      body: { sub: 'sub-alice' },
    })
    const old = await token('sub-alice')
    const fresh = await worker.tell('refresh', { user: 'sub-alice', rejected: old })
    expect(fresh).not.toBe(old)
    expect(await token('sub-alice')).toBe(fresh)
    await worker.tell('adopt', { user: 'bob', accessToken: 'from-the-worker' })
    expect(await token('bob')).toBe('from-the-worker')
    await expect(worker.tell('fetch', { user: 'sub-alice', url: 'https://elsewhere.example/' })).rejects.toThrow(
      'FST_OAUTH2_ORIGIN_NOT_ALLOWED',
    )
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect(await worker.tell('revoke', { user: 'sub-alice' })).toEqual({ local: true, remote: 'revoked' })
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    await expect(worker.tell('refresh', { user: 'sub-alice' })).rejects.toThrow('FST_OAUTH2_CREDENTIALS_REQUIRED')
    // Nothing of all this needed the web.
    expect(await worker.tell('loaded')).toEqual([])
    await worker.tell('close')
  })

  test('and the web app send a refresh token once, whoever of them needs a new access token', async () => {
    const { provider, web, worker } = await both()
    provider.refreshTokenPolicy = 'rotate'
    const user = await web.app.oauth2.user('sub-alice')
    const { token: rejected } = await user.getAccessToken()
    const held = provider.hold('token')
    const there = worker.tell('refresh', { user: 'sub-alice', rejected })
    const here = user.getAccessToken({ rejected })
    await Promise.all([worker.asked, held.arrived()])
    held.release()
    expect((await here).token).toBe(await there)
    expect(provider.count('token', 'refresh_token')).toBe(1)
    await worker.tell('close')
  })
})

test('close() waits for a refresh that is under way: what comes back must be written down', async () => {
  const { provider, web, manager } = await signedIn()
  const user = await manager.user('sub-alice')
  const { token: rejected } = await user.getAccessToken()
  const held = provider.hold('token')
  const refreshing = user.getAccessToken({ rejected })
  await held.arrived()
  let closed = false
  const closing = manager.close().then(() => {
    closed = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(closed).toBe(false)
  held.release()
  await closing
  expect((await web.app.oauth2.user('sub-alice')).credentials?.accessToken).toBe((await refreshing).token)
  // The store is the caller's, and goes on.
  expect((await manager.user('sub-alice')).userId).toBe('sub-alice')
})

test('nothing that prints or logs a manager, a user or what hangs on them shows a secret', async () => {
  const { manager } = await signedIn()
  const user = await manager.user('sub-alice')
  const objects = { manager, user, accounts: user.accounts() }
  for (const [name, value] of Object.entries({ ...objects, all: objects })) {
    const texts = [
      inspect(value, { depth: 10 }),
      inspect(value, { depth: 10, showHidden: true, getters: true }),
      JSON.stringify(value),
      String(value),
    ]
    for (const secret of SECRETS) expect([name, texts.join('\n')]).not.toEqual([name, expect.stringContaining(secret)])
  }
  expect(inspect(manager)).toBe('CredentialManager oauth2')
})

test.each<[string, Record<string, unknown>, string]>([
  ['an option of the web', { scopes: ['openid'] }, 'scopes'],
  ['another one', { userKey: () => 'u' }, 'userKey'],
  ['a name with a typing error', { encryptionkeys: KEY }, 'encryptionkeys'],
  ['no store', { storage: undefined }, 'storage'],
  ['the session, which is not there', { storage: 'session' }, 'storage'],
  ['null for a store', { storage: null }, 'storage'],
  ['something that is no store', { storage: { get() {} } }, 'storage'],
  [
    'no keys for a store that others can read',
    { storage: { ...memoryStore(), shared: true }, encryptionKeys: undefined },
    'encryptionKeys',
  ],
  ['no client', { clientId: undefined }, 'clientId'],
  ['no provider', { provider: undefined }, 'provider'],
  ['a name that is none', { name: 'a/b' }, 'name'],
])('%s is a mistake that is named', (_name, wrong, option) => {
  const options = {
    provider: { issuer: 'https://issuer.example' },
    clientId: 'c',
    storage: memoryStore(),
    encryptionKeys: KEY,
  }
  expect(() => new CredentialManager({ ...options, ...wrong } as CredentialManagerOptions)).toThrow(
    expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(`"${option}"`) }),
  )
})

test.each([[''], [undefined], [7], [{}]])('a user %j is a mistake, wherever one is named', async (key) => {
  const manager = new CredentialManager(optionsOf(await scripted()))
  for (const use of [manager.user(key as string), manager.deleteUser(key as string)]) {
    await expect(use).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  }
})

test('a manager of another client touches nothing that it finds', async () => {
  const storage = memoryStore()
  const { web } = await signedIn({ storage })
  const other = new CredentialManager({
    ...optionsOf(web.provider, { storage }),
    clientId: 'staging',
  })
  for (const use of [other.user('sub-alice'), other.deleteUser('sub-alice', { evenUnreadable: true })]) {
    await expect(use).rejects.toMatchObject({ code: 'FST_OAUTH2_CLIENT_MISMATCH' })
  }
  expect(await other.sweep({ keepAlive: 1 })).toMatchObject({ users: 1, unreadable: 1, refreshed: 0 })
  expect((await web.app.oauth2.user('sub-alice')).userId).toBe('sub-alice')
  expect(web.provider.count('revoke')).toBe(0)
})

test('managers of two names share a store and no users', async () => {
  const provider = await scripted()
  const storage = memoryStore()
  const [a, b] = ['a', 'b'].map((name) => new CredentialManager(optionsOf(provider, { name, storage })))
  await (await a?.user('u'))?.adopt(Credentials.fromAccessToken('of-a'))
  expect((await b?.user('u'))?.credentials).toBeNull()
  expect(await b?.deleteUser('u')).toEqual({ accounts: [], pending: 0 })
  expect((await a?.user('u'))?.credentials?.accessToken).toBe('of-a')
})

test('a worker without a key that records need is told so at once, and not by one user after the other', async () => {
  const storage = { ...memoryStore(), shared: true }
  const { provider, manager } = await signedIn({ storage })
  const strange = new CredentialManager(optionsOf(provider, { storage, encryptionKeys: 'k'.repeat(32) }))
  await expect(strange.user('sub-alice')).rejects.toMatchObject({ code: 'FST_OAUTH2_KEY_IN_USE' })
  expect((await manager.user('sub-alice')).hasCredentials()).toBe(true)
})

test('a user who was loaded before they authorized, or since they came back, can be used without loading again', async () => {
  const { web, provider, manager } = await signedIn()
  provider.user = 'bob'
  const [early, alice] = [await manager.user('sub-bob'), await manager.user('sub-alice')]
  await expect(early.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
  await new Browser().goto(`${web.url}/profile`)
  expect((await early.getAccessToken()).scopes).toContain('openid')
  await (await manager.user('sub-alice')).revoke()
  provider.user = 'alice'
  const { token: rejected } = await alice.getAccessToken()
  await expect(alice.getAccessToken({ rejected })).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
  await new Browser().goto(`${web.url}/profile`)
  expect((await alice.getAccessToken()).token).not.toBe(rejected)
})
