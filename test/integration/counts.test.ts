import { expect, test } from 'vitest'
import type { CredentialStore } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'

const withStore = sessionVariants.find(({ hasStore, name }) => hasStore && name.includes('slow'))
const cookieOnly = sessionVariants.find(({ kind }) => kind === 'secure-session')

function counting(shared = false): CredentialStore & { calls: string[] } {
  const store = memoryStore()
  const calls: string[] = []
  const counted = <T>(name: string, answer: Promise<T>): Promise<T> => {
    calls.push(name)
    return answer
  }
  return {
    calls,
    shared,
    get: (key) => counted('get', store.get(key)),
    put: (key, value, expected) => counted('put', store.put(key, value, expected)),
    delete: (key, expected) => counted('delete', store.delete(key, expected)),
  }
}

test('a guarded request makes one store read, writes nothing and sets no cookie', async () => {
  const store = counting()
  const sessions = new SlowSessionStore(1)
  const variant = withStore as NonNullable<typeof withStore>
  const { browser, url, provider } = await startApp({
    variant: { ...variant, register: (app, options) => variant.register(app, { ...options, store: sessions }) },
    storage: store,
  })
  await browser.goto(`${url}/profile`)
  // The first request behind the callback takes away the note that a flow ended.
  await browser.goto(`${url}/profile`)
  store.calls.length = 0
  const before = { sets: sessions.sets, provider: provider.requests.length }
  const page = await browser.goto(`${url}/profile`)
  expect(page.status).toBe(200)
  expect(store.calls).toEqual(['get'])
  expect(page.headers.get('set-cookie')).toBeNull()
  expect({ sets: sessions.sets, provider: provider.requests.length }).toEqual(before)
})

test('a guarded request over a session sets no cookie either', async () => {
  const { browser, url, provider } = await startApp({ variant: cookieOnly as NonNullable<typeof cookieOnly> })
  await browser.goto(`${url}/profile`)
  await browser.goto(`${url}/profile`)
  const before = provider.requests.length
  const page = await browser.goto(`${url}/profile`)
  expect(page.headers.get('set-cookie')).toBeNull()
  expect(provider.requests.length).toBe(before)
})

test('a sign-in makes one token request, one store read and one write; a refresh claims and writes', async () => {
  const store = counting()
  const { browser, url, provider, clock } = await startApp({ storage: store })
  await browser.goto(`${url}/profile`)
  expect(store.calls).toEqual(['get', 'put', 'get'])
  expect(provider.requests.map(({ endpoint }) => endpoint)).toEqual(['discovery', 'authorize', 'token', 'jwks'])
  store.calls.length = 0
  clock.advance(3_600_000)
  await browser.goto(`${url}/profile`)
  // What the guard saw, what the refresh is decided on, the claim, the result.
  expect(store.calls).toEqual(['get', 'get', 'put', 'put'])
  expect(provider.count('token', 'refresh_token')).toBe(1)
})

test('public and aware routes touch no store for strangers, and the session only where there is one', async () => {
  const store = counting()
  const { browser, url, provider } = await startApp({ storage: store })
  expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
  expect(store.calls).toEqual([])
  expect(provider.requests).toEqual([])
})

test('with a shared store a guarded request makes one read, then none until cacheMaxAge is over', async () => {
  const store = counting(true)
  const { browser, url, clock } = await startApp({ storage: store, client: { encryptionKeys: 'k'.repeat(32) } })
  await browser.goto(`${url}/profile`)
  const calls = async (path: string) => {
    store.calls.length = 0
    expect((await browser.goto(`${url}${path}`)).status).toBe(200)
    return store.calls
  }
  clock.advance(2_000)
  expect(await calls('/profile')).toEqual(['get'])
  expect(await calls('/profile')).toEqual([])
  clock.advance(1_999)
  expect(await calls('/profile')).toEqual([])
  clock.advance(1)
  expect(await calls('/profile')).toEqual(['get'])
  // A page that shows what is stored is not to be a moment behind.
  expect(await calls('/')).toEqual(['get'])
})
