// What programs relied on in oauth2client's storages, case by case (ST-1 to ST-13), and in Storage.put and set_credentials, whose
// cases are numbered here (SP-1, SP-2). Left out: ST-5, the keyring, which has tests of its own. Inverted, because the original was
// unsafe: ST-1 and ST-9 (what cannot be read is an error and never overwritten, instead of empty), ST-2 (nothing is unpickled),
// ST-8 (there is no read-only mode that loses what a provider rotated), ST-11 and ST-12 (deleting credentials deletes no row of
// the app).
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Kysely } from 'kysely'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type CredentialManager, Credentials } from '../../src/credentials/index.js'
import { type CredentialStore, CredentialsInvalidError, requireOAuth } from '../../src/index.js'
import { fileStore } from '../../src/storage/file.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { startApp } from '../helpers/app.js'
import { HOUR, LATER, obtain, person, startManager, startProvider } from './person.js'

const UNREADABLE = { code: 'FST_OAUTH2_CREDENTIALS_UNREADABLE' }
const posix = process.platform !== 'win32'

async function directory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'storages-'))
  onTestFinished(() => rm(made, { recursive: true }))
  return made
}

async function sqlite() {
  const db = await openSqlite({ path: ':memory:' })
  onTestFinished(() => db.destroy())
  await createCredentialTables(db)
  return db
}

const tokenOf = async (manager: CredentialManager, user = 'alice') =>
  (await manager.user(user)).credentials?.accessToken

describe('one file for one program, or for many', () => {
  test('ST-1 no file is nobody; the first write makes one that only its owner reads', async () => {
    const path = join(await directory(), 'credentials.json')
    const { alice, manager, credentials } = await person({ storage: fileStore({ path }) })
    expect((await manager.user('bob')).hasCredentials()).toBe(false)
    expect(alice.credentials?.accessToken).toBe(credentials.accessToken)
    if (posix) expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test.skipIf(!posix)('ST-1 inverted: a mode that others can read is narrowed', async () => {
    const path = join(await directory(), 'credentials.json')
    const { manager } = await person({ storage: fileStore({ path }) })
    await chmod(path, 0o644)
    await manager.user('alice')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test.skipIf(!posix)('ST-1 a directory and a symbolic link are errors', async () => {
    const provider = await startProvider()
    const parent = await directory()
    const place = join(parent, 'directory')
    await mkdir(place)
    await writeFile(join(parent, 'target'), '{}')
    await symlink(join(parent, 'target'), join(parent, 'link'))
    for (const path of [place, join(parent, 'link')]) {
      const manager = startManager(provider, { storage: fileStore({ path }) })
      await expect(manager.user('alice')).rejects.toMatchObject(UNREADABLE)
    }
  })

  test.each([
    ['ST-2 inverted: a pickle', 'ccopy_reg\n_reconstructor\np0\n(coauth2client.client\nOAuth2Credentials\n'],
    ['ST-9 inverted: text that is no JSON', '{{'],
    ['ST-9 inverted: JSON without a version', '{}'],
    ['ST-9 inverted: another version', '{"file_version": 1, "credentials": {}}'],
  ])('%s is an error that says so, and is left as it is', async (_name, text) => {
    const path = join(await directory(), 'credentials.json')
    await writeFile(path, text)
    const provider = await startProvider()
    const manager = startManager(provider, { storage: fileStore({ path }) })
    await expect(manager.user('alice')).rejects.toMatchObject(UNREADABLE)
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  test('ST-3 what was deleted is gone, and deleting it again does no harm', async () => {
    const { alice, manager } = await person({ storage: fileStore({ path: join(await directory(), 'c.json') }) })
    await alice.revoke()
    expect((await manager.user('alice')).credentials).toBeNull()
    expect(await (await manager.user('alice')).revoke()).toEqual({ local: false, remote: 'unsupported' })
  })

  test('ST-6 many in one file: put, get and delete, as the next program sees it', async () => {
    const path = join(await directory(), 'credentials.json')
    const provider = await startProvider()
    const next = () => startManager(provider, { storage: fileStore({ path }) })
    const tokens = new Map<string, string>()
    for (const user of ['alice', 'bob', 'a b/c:d', '__proto__']) {
      const credentials = Credentials.fromAccessToken(`at-${tokens.size}`)
      tokens.set(user, credentials.accessToken)
      await (await next().user(user)).adopt(credentials)
    }
    for (const [user, token] of tokens) expect(await tokenOf(next(), user)).toBe(token)
    await next().deleteUser('bob')
    expect([await tokenOf(next(), 'bob'), await tokenOf(next())]).toEqual([undefined, 'at-0'])
  })

  test('ST-6 inverted: what another program deletes is gone here too', async () => {
    const path = join(await directory(), 'credentials.json')
    const { manager, provider } = await person({ storage: fileStore({ path }) })
    expect(await tokenOf(manager)).toBeDefined()
    await startManager(provider, { storage: fileStore({ path }) }).deleteUser('alice')
    expect(await tokenOf(manager)).toBeUndefined()
  })

  test('ST-9 one entry that is damaged is no harm to the others', async () => {
    const path = join(await directory(), 'credentials.json')
    const { manager, provider, credentials } = await person({ storage: fileStore({ path }) })
    await (await manager.user('bob')).adopt(Credentials.fromAccessToken('at-of-bob'))
    const store = fileStore({ path })
    const { value } = (await store.get('user/oauth2/bob')) as { value: string }
    await store.put('user/oauth2/bob', `${value.slice(0, -4)}AAAA`)
    const next = startManager(provider, { storage: fileStore({ path }) })
    await expect(next.user('bob')).rejects.toMatchObject(UNREADABLE)
    expect(await tokenOf(next)).toBe(credentials.accessToken)
  })
})

describe('locks', () => {
  test('ST-7 two programs need a new token at once: one request, and both have it', async () => {
    const path = join(await directory(), 'credentials.json')
    const { provider, clock, alice, refreshes } = await person({ storage: fileStore({ path }) })
    provider.refreshTokenPolicy = 'rotate'
    const other = await startManager(provider, { storage: fileStore({ path }), clock: clock.now }).user('alice')
    clock.advance(LATER)
    const [mine, theirs] = await Promise.all([alice.getAccessToken(), other.getAccessToken()])
    expect(mine.token).toBe(theirs.token)
    expect([refreshes(), provider.isValidAccessToken(mine.token)]).toEqual([1, true])
  })

  test('ST-7 the same without any lock at all: they save waiting, and nothing depends on them', async () => {
    const { lock: _, ...storage } = memoryStore() as CredentialStore
    const { provider, clock, alice, another, refreshes } = await person({ storage })
    provider.refreshTokenPolicy = 'rotate'
    const other = await another().user('alice')
    clock.advance(LATER)
    const [mine, theirs] = await Promise.all([alice.getAccessToken(), other.getAccessToken()])
    expect([mine.token === theirs.token, refreshes()]).toEqual([true, 1])
  })

  test('ST-8 inverted: a lock that somebody else holds keeps nobody from storing, reading and using', async () => {
    const storage: CredentialStore = { ...memoryStore(), lock: async () => undefined }
    const { alice, another, api, provider } = await person({ storage })
    const again = await obtain(provider)
    await alice.adopt(again)
    expect(await tokenOf(another())).toBe(again.accessToken)
    expect((await alice.fetch(api)).status).toBe(200)
  })

  test('ST-8 a store that fails in the middle leaves no lock behind', async () => {
    const store = memoryStore()
    let broken = false
    const put: CredentialStore['put'] = (...args) => (broken ? Promise.reject(new Error('down')) : store.put(...args))
    const { alice, clock, another } = await person({ storage: { ...store, put } })
    clock.advance(LATER)
    broken = true
    await expect(alice.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_STORE_UNAVAILABLE' })
    broken = false
    expect((await (await another().user('alice')).getAccessToken()).token).toBeDefined()
  })

  test('ST-10 what is missing, ended or expired here is read again before anybody is asked', async () => {
    const { provider, clock, manager, another, refreshes } = await person()
    expect((await manager.user('bob')).hasCredentials()).toBe(false)
    // Missing.
    await (await another().user('bob')).adopt(Credentials.fromAccessToken('at-of-bob', { userId: 'bob' }))
    expect((await (await manager.user('bob')).getAccessToken()).token).toBe('at-of-bob')
    // Ended, and authorized again by another program.
    const alice = await manager.user('alice')
    provider.withdraw()
    clock.advance(LATER)
    await expect(alice.getAccessToken()).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
    await (await another().user('alice')).adopt(await obtain(provider))
    clock.advance(-LATER)
    expect(provider.isValidAccessToken((await (await manager.user('alice')).getAccessToken()).token)).toBe(true)
    // Expired.
    clock.advance(LATER)
    const before = refreshes()
    const theirs = await (await another().user('alice')).getAccessToken()
    expect((await (await manager.user('alice')).getAccessToken()).token).toBe(theirs.token)
    expect(refreshes()).toBe(before + 1)
  })
})

describe('any mapping', () => {
  test('ST-4 nothing, then everything that was put, then nothing again', async () => {
    const map = new Map<string, MemoryEntry>()
    const { alice, provider, manager, credentials } = await person({ storage: memoryStore({ map }) })
    expect((await manager.user('bob')).credentials).toBeNull()
    const { accessToken, idToken, scopes, userId, clientId } = credentials
    const next = startManager(provider, { storage: memoryStore({ map }) })
    expect((await next.user('alice')).credentials).toMatchObject({ accessToken, idToken, scopes, userId, clientId })
    expect((await next.user('alice')).accounts()[0]).toMatchObject({ refreshable: true })
    await alice.revoke()
    expect((await next.user('alice')).credentials).toBeNull()
  })

  test('ST-4 inverted: whoever looks into the mapping sees no token', async () => {
    const map = new Map<string, MemoryEntry>()
    await person({ storage: memoryStore({ map }) })
    expect(JSON.stringify([...map])).toMatch(/alice/)
    expect(JSON.stringify([...map])).not.toContain('canary')
  })
})

describe("the app's own database", () => {
  test('ST-11 get, put over what is there, delete', async () => {
    const { alice, manager, provider, credentials } = await person({ storage: sqlStore({ db: await sqlite() }) })
    expect(await tokenOf(manager)).toBe(credentials.accessToken)
    const again = await obtain(provider)
    await alice.adopt(again)
    expect(await tokenOf(manager)).toBe(again.accessToken)
    await alice.revoke()
    expect(await tokenOf(manager)).toBeUndefined()
  })

  test('ST-11 and ST-12 inverted: the rows of the app stay when credentials go', async () => {
    const db = (await sqlite()) as Kysely<{ users: { id: string; name: string } }>
    await db.schema.createTable('users').addColumn('id', 'text').addColumn('name', 'text').execute()
    await db.insertInto('users').values({ id: 'alice', name: 'Alice' }).execute()
    const { manager } = await person({ storage: sqlStore({ db }) })
    await manager.deleteUser('alice')
    expect(await db.selectFrom('users').selectAll().execute()).toEqual([{ id: 'alice', name: 'Alice' }])
  })

  test('ST-11 inverted: nobody has to commit; another connection sees it at once', async () => {
    const path = join(await directory(), 'app.sqlite')
    const [db, other] = [await openSqlite({ path }), await openSqlite({ path })]
    onTestFinished(() => Promise.all([db.destroy(), other.destroy()]).then(() => {}))
    await createCredentialTables(db)
    const { provider, credentials } = await person({ storage: sqlStore({ db }) })
    expect(await tokenOf(startManager(provider, { storage: sqlStore({ db: other }) }))).toBe(credentials.accessToken)
  })
})

describe('a store with a cache in front', () => {
  /** A web app with users of its own over a store that counts. */
  async function cached() {
    const store = memoryStore()
    let reads = 0
    const storage: CredentialStore = {
      ...store,
      shared: true,
      get: (key) => {
        if (key.startsWith('user/')) reads++
        return store.get(key)
      },
    }
    const web = await startApp({
      storage,
      client: { encryptionKeys: 'the key of every program of this test', userKey: () => 'alice', scopes: [] },
      routes: (app) => {
        app.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.credentials?.accessToken)
      },
    })
    const visit = async () => {
      const before = reads
      const { status, body } = await web.browser.xhr(`${web.url}/token`)
      return { status, body, reads: reads - before }
    }
    const { clock } = web
    const elsewhere = startManager(web.provider, { storage: store, clock: clock.now })
    return { ...web, visit, elsewhere }
  }

  test('ST-13 read once, then remembered for a moment, then read again', async () => {
    const { app, visit, clock, provider } = await cached()
    const credentials = await obtain(provider)
    await (await app.oauth2.user('alice')).adopt(credentials)
    clock.advance(5_000)
    expect(await visit()).toEqual({ status: 200, body: credentials.accessToken, reads: 1 })
    expect(await visit()).toEqual({ status: 200, body: credentials.accessToken, reads: 0 })
    clock.advance(2_001)
    expect((await visit()).reads).toBe(1)
  })

  test('ST-13 nothing stored is no error, and what is stored a moment later is seen', async () => {
    const { visit, elsewhere, provider } = await cached()
    expect((await visit()).status).toBe(401)
    const credentials = await obtain(provider)
    await (await elsewhere.user('alice')).adopt(credentials)
    expect(await visit()).toMatchObject({ status: 200, body: credentials.accessToken })
  })

  test('ST-13 deleting clears what is remembered, at once here and after a moment elsewhere', async () => {
    const { app, visit, elsewhere, clock, provider } = await cached()
    const alice = await app.oauth2.user('alice')
    await alice.adopt(await obtain(provider))
    expect((await visit()).status).toBe(200)
    await alice.revoke()
    expect((await visit()).status).toBe(401)
    await alice.adopt(await obtain(provider))
    expect((await visit()).status).toBe(200)
    await elsewhere.deleteUser('alice')
    clock.advance(2_001)
    expect((await visit()).status).toBe(401)
  })

  test('ST-13 a store can take the place of another one', async () => {
    const provider = await startProvider()
    const credentials = await obtain(provider)
    const path = join(await directory(), 'c.json')
    for (const storage of [memoryStore(), fileStore({ path }), sqlStore({ db: await sqlite() })]) {
      const manager = startManager(provider, { storage })
      await (await manager.user('alice')).adopt(credentials)
      expect(await tokenOf(manager)).toBe(credentials.accessToken)
    }
  })
})

describe('credentials from elsewhere', () => {
  test('SP-1 stored for a user, and the next request of that user passes', async () => {
    const { app, url, browser, provider } = await startApp({
      storage: memoryStore(),
      client: { userKey: ({ headers }) => headers['x-user'] as string | undefined },
    })
    const files = (user: string) => browser.xhr(`${url}/files`, { headers: { 'x-user': user } })
    expect((await files('u1')).status).toBe(401)
    await (await app.oauth2.user('u1')).adopt(await obtain(provider))
    expect((await files('u1')).json()).toEqual({ scopes: ['openid', 'email', 'files.read'] })
    expect((await files('u2')).status).toBe(401)
  })

  test('SP-1 in a request, for whoever makes it', async () => {
    const provider = await startProvider()
    const { url, browser } = await startApp({
      provider,
      storage: memoryStore(),
      client: { userKey: () => 'u1' },
      routes: (app) => {
        app.post('/link', async ({ oauth2 }) => {
          await oauth2.load()
          await oauth2.adopt(await obtain(provider))
          return oauth2.email
        })
      },
    })
    expect((await browser.xhr(`${url}/link`, { method: 'POST' })).body).toBe('alice@example.com')
    expect((await browser.xhr(`${url}/files`)).status).toBe(200)
  })

  test('SP-2 a live system moves while people use it, and moves again: nobody signs in twice, nobody loses newer credentials', async () => {
    const { app, url, browser, provider, clock } = await startApp({
      storage: memoryStore(),
      client: { userKey: ({ headers }) => headers['x-user'] as string | undefined },
    })
    const template = JSON.parse(
      await readFile(new URL('../fixtures/python/oauth2client-full.json', import.meta.url), 'utf8'),
    )
    const exported: { user: string; credentials: Record<string, unknown> }[] = []
    for (const user of ['u1', 'u2', 'u3']) {
      provider.user = user
      const { accessToken: access_token, refreshToken: refresh_token } = await obtain(provider)
      const token_expiry = new Date(clock.now() + HOUR).toISOString()
      const own = {
        token_response: { scope: 'openid email files.read' },
        access_token,
        refresh_token,
        token_expiry,
        client_id: provider.clientId,
        id_token: null,
        id_token_jwt: null,
      }
      exported.push({ user, credentials: { ...template, ...own } })
    }
    const dead = { invalid: true, refresh_token: null, client_id: provider.clientId }
    exported.push({ user: 'u4', credentials: { ...template, ...dead } })
    // u3 was faster than the import.
    const newer = await obtain(provider)
    await (await app.oauth2.user('u3')).adopt(newer)

    const adopted: string[] = []
    const refused: string[] = []
    const move = async () => {
      for (const { user, credentials } of exported) {
        const stored = await app.oauth2.user(user)
        if (stored.accounts().length > 0) continue
        try {
          await stored.adopt(Credentials.fromOAuth2Client(credentials))
          adopted.push(user)
        } catch (error) {
          if (!(error instanceof CredentialsInvalidError)) throw error
          refused.push(user)
        }
      }
    }
    await move()
    await move()
    expect([adopted, refused]).toEqual([
      ['u1', 'u2'],
      ['u4', 'u4'],
    ])
    expect((await app.oauth2.user('u3')).credentials?.accessToken).toBe(newer.accessToken)
    const call = (user: string) => browser.xhr(`${url}/api`, { headers: { 'x-user': user } })
    for (const user of ['u1', 'u2', 'u3'])
      expect((await call(user)).json()).toMatchObject({ ok: true, sub: `sub-${user}` })
    clock.advance(LATER)
    for (const user of ['u1', 'u2', 'u3'])
      expect((await call(user)).json()).toMatchObject({ ok: true, sub: `sub-${user}` })
    expect((await call('u4')).status).toBe(401)
    expect(provider.count('authorize')).toBe(4)
  })
})
