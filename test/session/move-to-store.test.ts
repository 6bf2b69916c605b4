/** An app that kept credentials in sessions gets a store: people stay signed in, and nothing that ended comes back. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { type CredentialStore, deleteUser, type OAuth2ClientOptions } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { linkIn } from '../../src/session/link-text.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'

const KEY = 'the key that seals what is in the store'
const HOUR = 3_600_000
const as = (user: string) => ({ headers: { 'x-user': user } })

/** One app, deployed twice: the sessions stay where they are. */
async function deployments(variant: SessionVariant, common: Partial<OAuth2ClientOptions> = {}) {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const clock = fakeClock()
  const sessions = new SlowSessionStore(1)
  const map = new Map<string, MemoryEntry>()
  const store = breakableStore(memoryStore({ map, clock: clock.now }))
  const routes: Parameters<typeof startApp>[0] = {
    routes(app) {
      app.get('/another', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.authorizeUrl('/', { account: 'new' }))
      app.get('/held', { config: { oauth2: 'aware' } }, async (request) => {
        const { session } = request as unknown as { session: { get(key: string): unknown } }
        const { id } = request.server.oauth2[Object.getOwnPropertySymbols(request.server.oauth2)[0] as never] as {
          id: string
        }
        const link = linkIn(String(session.get('oauth2client')), id)
        const credentials = session.get(`oauth2client:credentials.${id}`)
        return { link: link ? { ...link, ...(credentials === undefined ? {} : { credentials }) } : null }
      })
      app.post('/revoke', { config: { oauth2: true } }, ({ oauth2 }) => oauth2.revoke())
    },
  }
  const deploy = (storage: 'session' | typeof store, client: Partial<OAuth2ClientOptions> = {}) =>
    startApp({
      ...routes,
      provider,
      clock,
      storage,
      variant: { ...variant, register: (app) => variant.register(app, { store: sessions }) },
      client: { ...common, ...client },
    })
  const before = await deploy('session')
  const { browser } = before
  return {
    provider,
    clock,
    sessions,
    store,
    map,
    before,
    browser,
    /** With the store. */
    redeploy: (client: Partial<OAuth2ClientOptions> = {}): Promise<TestApp> => deploy(store, client),
  }
}

/** What a browser's session holds for the client, as the app with the store sees it. */
async function linkOf({ url }: TestApp, browser: Browser, headers?: Record<string, string>) {
  return (await browser.xhr(`${url}/held`, headers ? { headers } : {})).json().link as Record<string, unknown> | null
}
/** The refresh tokens that are stored for a user. */
async function stored({ app }: TestApp, provider: ScriptedProvider, user: string): Promise<(string | undefined)[]> {
  const record = (await app.oauth2[kClient].manager.vaultOf(user).read())?.record
  const tokens = record?.accounts.map(({ tokens }) => tokens.refreshToken) ?? []
  for (const token of tokens) if (token !== undefined) expect(provider.secrets()).toContain(token)
  return tokens
}

describeEachSession((variant) => {
  describe.each<[string, Partial<OAuth2ClientOptions>, Partial<OAuth2ClientOptions>]>([
    ['without keys of the app', {}, {}],
    ['with encryptionKeys all along', { encryptionKeys: KEY }, {}],
    ['with encryptionKeys from then on', {}, { encryptionKeys: KEY }],
  ])('%s', (_name, common, later) => {
    test('people stay signed in, without being sent anywhere', async () => {
      const { provider, browser, before, redeploy, clock } = await deployments(variant, common)
      await browser.goto(`${before.url}/profile`)
      const asked = provider.count('authorize')
      const app = await redeploy(later)
      const page = await browser.step(`${app.url}/profile`)
      expect([page.status, page.json()]).toMatchObject([200, { user: 'sub-alice', email: 'alice@example.com' }])
      expect(await stored(app, provider, 'sub-alice')).toEqual([expect.stringMatching(/^rt-/)])
      const link = await linkOf(app, browser)
      expect(link).toMatchObject({ id: expect.any(String), user: 'sub-alice' })
      expect(link).not.toHaveProperty('credentials')
      clock.advance(HOUR)
      expect((await browser.xhr(`${app.url}/profile`)).status).toBe(200)
      const job = await app.app.oauth2.user('sub-alice')
      expect((await job.fetch(`${provider.issuer}/api/things`)).status).toBe(200)
      expect(provider.count('authorize')).toBe(asked)
      expect(provider.count('token', 'refresh_token')).toBe(1)
    })
  })

  test('two requests at once move once, and both pass', async () => {
    const { browser, before, redeploy, map } = await deployments(variant)
    await browser.goto(`${before.url}/profile`)
    const [one, two] = [await redeploy(), await redeploy()]
    const pages = await Promise.all([one, two, one].map(({ url }) => browser.clone().xhr(`${url}/profile`)))
    expect(pages.map(({ status }) => status)).toEqual([200, 200, 200])
    expect((await one.app.oauth2.user('sub-alice')).accounts()).toHaveLength(1)
    expect([...map].filter(([key]) => key.startsWith('moved/')).map(([, { value }]) => value)).toEqual(['moved'])
  })

  test('an aware page and the authorize route move too: a sign-in that brings no refresh token loses none', async () => {
    for (const path of ['/', '/oauth2authorize?return_url=/profile']) {
      const { provider, browser, before, redeploy } = await deployments(variant)
      provider.refreshTokenPolicy = 'first'
      await browser.goto(`${before.url}/profile`)
      const app = await redeploy()
      expect((await browser.goto(app.url + path)).status).toBe(200)
      expect(await stored(app, provider, 'sub-alice')).toEqual([expect.stringMatching(/^rt-/)])
    }
  })

  test('a flow that began before the change ends after it, and loses no refresh token either', async () => {
    const { provider, browser, before, redeploy } = await deployments(variant)
    provider.refreshTokenPolicy = 'first'
    await browser.goto(`${before.url}/profile`)
    const { location } = await browser.goto(`${before.url}/files`, {
      stopAt: ({ pathname }) => pathname === '/oauth2callback',
    })
    const app = await redeploy()
    // The redirect URI was the other port's; the cookies are for both.
    const callback = new URL(location as string)
    expect((await browser.goto(`${app.url}${callback.pathname}${callback.search}`)).status).toBe(200)
    expect(await stored(app, provider, 'sub-alice')).toEqual([expect.stringMatching(/^rt-/)])
    expect((await app.app.oauth2.user('sub-alice')).scopes).toContain('files.read')
    expect(await linkOf(app, browser)).not.toHaveProperty('credentials')
  })

  test('with userKey: each user what is theirs, all accounts in their order', async () => {
    const { provider, browser, before, redeploy } = await deployments(variant, {
      userKey: ({ headers }) => headers['x-user'] as string | undefined,
    })
    provider.refreshTokenPolicy = variant.kind === 'secure-session' ? 'never' : 'always'
    expect((await browser.goto(`${before.url}/profile`, as('u1'))).status).toBe(200)
    provider.user = 'bob'
    const link = (await browser.xhr(`${before.url}/another`, as('u1'))).body
    expect((await browser.goto(before.url + link, as('u1'))).status).toBe(200)
    const app = await redeploy()
    expect((await browser.xhr(`${app.url}/profile`, as('u2'))).status).toBe(401)
    expect((await browser.xhr(`${app.url}/profile`, as('u1'))).json()).toMatchObject({ user: 'sub-alice' })
    const ids = (await app.app.oauth2.user('u1')).accounts().map(({ id }) => id)
    expect(ids).toEqual(['sub-alice', 'sub-bob'])
    expect((await app.app.oauth2.user('u2')).accounts()).toEqual([])
    expect(await linkOf(app, browser, { 'x-user': 'u1' })).not.toHaveProperty('credentials')
  })

  test('a session that cannot be read any more costs one sign-in, and no error', async () => {
    const { provider, browser, before, redeploy } = await deployments(variant, { encryptionKeys: KEY })
    await browser.goto(`${before.url}/profile`)
    const sealed = variant.kind === 'session'
    // An encrypted session is readable without our keys.
    const app = await redeploy({ encryptionKeys: 'another key, and the old one is lost for good' })
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(sealed ? 401 : 200)
    expect((await browser.goto(`${app.url}/profile`)).status).toBe(200)
    expect(provider.count('authorize')).toBe(sealed ? 2 : 1)
    expect(app.logs.text().includes('cannot be read any more')).toBe(sealed)
    expect(await linkOf(app, browser)).not.toHaveProperty('credentials')
  })

  test('what another client id obtained is not brought into the store of this one', async () => {
    const { browser, before, redeploy, map } = await deployments(variant, { encryptionKeys: KEY })
    await browser.goto(`${before.url}/profile`)
    const app = await redeploy({ clientId: 'another-client' })
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(401)
    expect([...map.keys()].filter((key) => key.startsWith('user/'))).toEqual([])
  })

  test('while the store is away it is a 503, and the session keeps what it has', async () => {
    const { browser, before, redeploy, store, provider } = await deployments(variant)
    await browser.goto(`${before.url}/profile`)
    const app = await redeploy()
    for (const failing of [true, 'get', 'put'] as const) {
      store.failing = failing
      const page = await browser.xhr(`${app.url}/profile`)
      expect([failing, page.status, page.json().code]).toEqual([failing, 503, 'FST_OAUTH2_STORE_UNAVAILABLE'])
    }
    store.failing = false
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(200)
    expect(await stored(app, provider, 'sub-alice')).toEqual([expect.stringMatching(/^rt-/)])
  })

  test('going back to the session for an hour asks people to sign in, and breaks nothing', async () => {
    const { browser, before, redeploy } = await deployments(variant)
    await browser.goto(`${before.url}/profile`)
    expect((await browser.xhr(`${(await redeploy()).url}/profile`)).status).toBe(200)
    expect((await browser.xhr(`${before.url}/profile`)).status).toBe(401)
    expect((await browser.goto(`${before.url}/profile`)).status).toBe(200)
  })
})

/** A cookie that is the session comes back whenever somebody kept it. */
describe('an old cookie that comes back', () => {
  const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant

  async function moved() {
    const started = await deployments(variant)
    const { browser, before } = started
    await browser.goto(`${before.url}/profile`)
    const old = browser.clone()
    const app = await started.redeploy()
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(200)
    return { ...started, app, old }
  }

  test('brings nothing back after revoke()', async () => {
    const { app, old, browser, provider } = await moved()
    expect((await browser.xhr(`${app.url}/revoke`, { method: 'POST' })).json()).toMatchObject({ local: true })
    for (const replayed of [old.clone(), old.clone()]) {
      expect((await replayed.xhr(`${app.url}/profile`)).status).toBe(401)
    }
    expect(await stored(app, provider, 'sub-alice')).toEqual([])
  })

  test('nor after a job revoked or the user was deleted', async () => {
    for (const end of ['revoke', 'delete'] as const) {
      const { app, old, provider } = await moved()
      if (end === 'revoke') await (await app.app.oauth2.user('sub-alice')).revoke()
      else await deleteUser(app.app, 'sub-alice')
      expect((await old.clone().xhr(`${app.url}/profile`)).status).toBe(401)
      expect(await stored(app, provider, 'sub-alice')).toEqual([])
    }
  })

  test('nor when the user was deleted before anything of theirs was moved', async () => {
    const { browser, before, redeploy, provider } = await deployments(variant)
    await browser.goto(`${before.url}/profile`)
    const app = await redeploy()
    await deleteUser(app.app, 'sub-alice')
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(401)
    expect(await stored(app, provider, 'sub-alice')).toEqual([])
    // Who signs in anew is a new user.
    expect((await browser.goto(`${app.url}/profile`)).status).toBe(200)
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(200)
  })

  test('replaces nothing that is newer: a refresh, or another sign-in, even one that was never moved', async () => {
    const { app, old, browser, provider } = await moved()
    provider.refreshTokenPolicy = 'rotate'
    const user = await app.app.oauth2.user('sub-alice')
    await user.getAccessToken({ rejected: (await user.getAccessToken()).token })
    const refreshed = await stored(app, provider, 'sub-alice')
    expect((await old.clone().xhr(`${app.url}/profile`)).status).toBe(200)
    expect(await stored(app, provider, 'sub-alice')).toEqual(refreshed)
    expect((await browser.goto(`${app.url}/files`)).status).toBe(200)
    const granted = await stored(app, provider, 'sub-alice')
    expect(granted).not.toEqual(refreshed)
    expect((await old.clone().xhr(`${app.url}/files`)).status).toBe(200)
    expect(await stored(app, provider, 'sub-alice')).toEqual(granted)

    const other = await deployments(variant)
    await other.browser.goto(`${other.before.url}/profile`)
    const later = await other.redeploy()
    await new Browser().goto(`${later.url}/files`)
    const newer = await stored(later, other.provider, 'sub-alice')
    expect((await other.browser.xhr(`${later.url}/files`)).status).toBe(200)
    expect(await stored(later, other.provider, 'sub-alice')).toEqual(newer)
  })

  test('is good again once whoever began to move it died in the middle', async () => {
    const { browser, before, redeploy, store, clock, provider } = await deployments(variant)
    await browser.goto(`${before.url}/profile`)
    const app = await redeploy()
    // The marker is written, and then nothing more.
    const { put } = store
    let puts = 0
    store.put = (...args) => {
      puts += 1
      return puts === 2 ? Promise.reject(new Error('killed')) : put(...args)
    }
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(503)
    store.put = put
    clock.advance(10_001)
    expect((await browser.xhr(`${app.url}/profile`)).status).toBe(200)
    expect(await stored(app, provider, 'sub-alice')).toHaveLength(1)
  })
})

test('a user who is deleted while an account of theirs is being moved stays deleted', async () => {
  const { before, browser, provider, map, store, redeploy } = await deployments(sessionVariants[0]!)
  await browser.goto(`${before.url}/profile`)
  const after = await redeploy()
  let written: (() => void) | undefined
  const { put } = store
  // Stopped where the right to move is taken and nothing is written yet.
  const stopped = new Promise<void>((resolve) => {
    store.put = async (key, value, expected) => {
      if (key.startsWith('user/') && !written) {
        await new Promise<void>((go) => {
          written = go
          resolve()
        })
      }
      return put(key, value, expected)
    }
  })
  const moving = browser.xhr(`${after.url}/profile`)
  await stopped
  expect(await after.app.oauth2.deleteUser('sub-alice')).toEqual({ accounts: [], pending: 0 })
  written?.()
  await moving
  expect([...map.keys()].filter((key) => key.startsWith('user/') && map.get(key)?.value !== undefined)).toEqual([])
  expect((await browser.xhr(`${after.url}/profile`)).status).toBe(401)
  expect(provider.count('token', 'refresh_token')).toBe(0)
})

/** Stops the next write that fits, until it is told to go on. */
function stopAt(store: { put: CredentialStore['put'] }, fits: (key: string, value: string) => boolean) {
  const { put } = store
  let goOn = () => {}
  const stopped = new Promise<void>((resolve) => {
    store.put = async (key, value, expected) => {
      if (fits(key, value)) {
        store.put = put
        await new Promise<void>((go) => {
          goOn = go
          resolve()
        })
      }
      return put(key, value, expected)
    }
  })
  return { stopped, goOn: () => goOn() }
}

test('a user who is deleted while several accounts of theirs are being moved keeps none of them', async () => {
  const { before, browser, provider, store, redeploy } = await deployments(sessionVariants[0]!, {
    userKey: ({ headers }) => headers['x-user'] as string | undefined,
  })
  await browser.goto(`${before.url}/profile`, as('u1'))
  provider.user = 'bob'
  const link = (await browser.xhr(`${before.url}/another`, as('u1'))).body
  expect((await browser.goto(before.url + link, as('u1'))).status).toBe(200)
  const after = await redeploy()
  const { stopped, goOn } = stopAt(store, (key) => key.startsWith('user/'))
  const moving = browser.xhr(`${after.url}/profile`, as('u1'))
  await stopped
  await after.app.oauth2.deleteUser('u1')
  goOn()
  await moving
  expect(await stored(after, provider, 'u1')).toEqual([])
})

test('what is taken away again after a user was deleted is what was moved, and not what a new sign-in brought', async () => {
  const { before, browser, provider, store, redeploy } = await deployments(sessionVariants[0]!)
  await browser.goto(`${before.url}/profile`)
  const after = await redeploy()
  const { stopped, goOn } = stopAt(store, (key, value) => key.startsWith('moved/') && value === 'moved')
  const moving = browser.xhr(`${after.url}/profile`)
  await stopped
  await after.app.oauth2.deleteUser('sub-alice')
  const anew = new Browser()
  expect((await anew.goto(`${after.url}/profile`)).status).toBe(200)
  const brought = await stored(after, provider, 'sub-alice')
  expect(brought).toEqual([expect.stringMatching(/^rt-/)])
  goOn()
  await moving
  expect(await stored(after, provider, 'sub-alice')).toEqual(brought)
  expect((await anew.xhr(`${after.url}/profile`)).status).toBe(200)
})

test('where nothing was ever in the session, nothing is said to have been dropped from it', async () => {
  const app = await startApp({ storage: memoryStore() })
  await app.browser.goto(`${app.url}/profile`)
  expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
  expect(app.logs.text()).not.toContain('cannot be read any more')
})
