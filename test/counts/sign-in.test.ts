/** What a whole sign-in costs: a guarded page, the provider, the callback, and the page again. */
import { describe, expect, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { rowFor, SETUPS, startCountedApp, type Table } from './app.js'
import { expectCounts } from './expect.js'

const COMMON = {
  cookies: { ours: 4, session: 2 },
  provider: { authorize: 1, token: 1 },
  objects: { Credentials: 2, RequestCredentials: 3 },
}
const IN_SESSION = { ...COMMON.objects, RequestSlot: 1, SessionVault: 2 }
const CRYPTO = { getRandomValues: 3, timingSafeEqual: 1, 'subtle.verify': 1 }
const IN_MEMORY = { ...CRYPTO, randomBytes: 5, createCipheriv: 3, createDecipheriv: 3, createHash: 8 }
/** Another process may get the callback again: that it came is claimed in the store, then how it ended, sealed. */
const SHARED = { ...CRYPTO, randomBytes: 6, createCipheriv: 4, createDecipheriv: 3, createHash: 8 }

/** Of one that is not the first of the app: the provider's metadata and keys are known. */
const SIGN_IN: Table = {
  session: {
    ...COMMON,
    objects: IN_SESSION,
    crypto: { ...CRYPTO, randomBytes: 5, createCipheriv: 3, createDecipheriv: 3, createHash: 9 },
  },
  'encrypted session': {
    ...COMMON,
    objects: IN_SESSION,
    crypto: { ...CRYPTO, randomBytes: 4, createCipheriv: 2, createDecipheriv: 2, createHash: 7 },
  },
  memory: { ...COMMON, store: { get: 1, peek: 1, put: 1 }, crypto: IN_MEMORY },
  shared: { ...COMMON, store: { get: 1, put: 3 }, crypto: SHARED },
  'shared without cache': { ...COMMON, store: { get: 2, put: 3 }, crypto: SHARED },
}
const SESSION_STORE = { get: 2, set: 3, destroy: 1 }

/** What only the first sign-in of an app asks for. */
const FIRST = { discovery: 1, authorize: 1, token: 1, jwks: 1 }

describe.each(SETUPS)('%s', (setup) => {
  test('a sign-in from a guarded page costs what it did', async () => {
    const app = await startCountedApp(setup)
    expect((await app.count(() => app.signIn())).provider).toEqual(FIRST)
    const browser = new Browser()
    const counted = await app.count(() => app.signIn(browser), browser)
    expectCounts(`a sign-in over ${setup}`, counted, rowFor(setup, SIGN_IN, SESSION_STORE))
  })

  test('a sign-in from a link costs the same', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    const browser = new Browser()
    const counted = await app.count(() => app.signIn(browser, '/oauth2authorize?return_url=/guarded'), browser)
    expectCounts(`a sign-in from a link over ${setup}`, counted, rowFor(setup, SIGN_IN, SESSION_STORE))
  })
})
