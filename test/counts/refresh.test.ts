/** What a refresh costs: one request that finds its access token expired, and twenty of one session at once. */
import { describe, test } from 'vitest'
import { type CountedApp, rowFor, SETUPS, startCountedApp, type Table, UNTIL_EXPIRED } from './app.js'
import { quiet } from './crypto.js'
import { type Expected, expectCounts } from './expect.js'
import type { Tally } from './tally.js'

const STORED: Expected = {
  store: { get: 2, put: 2, lock: 1, release: 1 },
  provider: { token: 1 },
  crypto: { createHash: 7, randomUUID: 1, randomBytes: 2, createCipheriv: 2, createDecipheriv: 1, 'subtle.verify': 1 },
  objects: { RequestCredentials: 1 },
}

const REFRESH: Table = {
  session: {
    session: { get: 1, set: 1 },
    cookies: { session: 1 },
    provider: { token: 1 },
    crypto: { createHash: 4, randomUUID: 1, randomBytes: 1, createCipheriv: 1, 'subtle.verify': 1 },
    objects: { RequestCredentials: 1, RequestSlot: 1, SessionVault: 1 },
  },
  'encrypted session': {
    cookies: { session: 1 },
    provider: { token: 1 },
    crypto: { createHash: 2, randomUUID: 1, 'subtle.verify': 1 },
    objects: { RequestCredentials: 1, RequestSlot: 1, SessionVault: 1 },
  },
  memory: { ...STORED, store: { ...STORED.store, get: 1, peek: 1 } },
  shared: STORED,
  'shared without cache': STORED,
}

/** Each of twenty reads for itself where nothing is cached. All else is done once. */
const TWENTY_STORED: Expected = {
  ...STORED,
  store: { ...STORED.store, get: 21 },
  objects: { RequestCredentials: 20 },
}

const TWENTY_AT_ONCE: Table = {
  session: {
    session: { get: 20, set: 20 },
    cookies: { session: 20 },
    provider: { token: 1 },
    crypto: { createHash: 43, randomUUID: 1, randomBytes: 20, createCipheriv: 20, 'subtle.verify': 1 },
    objects: { RequestCredentials: 20, RequestSlot: 20, SessionVault: 20 },
  },
  'encrypted session': {
    cookies: { session: 20 },
    provider: { token: 1 },
    crypto: { createHash: 3, randomUUID: 1, 'subtle.verify': 1 },
    objects: { RequestCredentials: 20, RequestSlot: 20, SessionVault: 20 },
  },
  memory: { ...TWENTY_STORED, store: { ...STORED.store, get: 1, peek: 20 } },
  shared: { ...TWENTY_STORED, store: STORED.store as Tally },
  'shared without cache': TWENTY_STORED,
}

/** The answer is held back until everybody waits for it. */
async function twentyAtOnce({ provider, atOnce }: CountedApp): Promise<void> {
  const hold = provider.hold('token')
  const requests = atOnce(20)
  await hold.arrived()
  await quiet()
  hold.release()
  await requests
}

describe.each(SETUPS)('%s', (setup) => {
  test('a refresh costs what it did', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    await app.request()
    app.clock.advance(UNTIL_EXPIRED)
    const counted = await app.count(() => app.request())
    expectCounts(`a refresh over ${setup}`, counted, rowFor(setup, REFRESH, { get: 1 }))
  })

  test('a refresh that twenty requests wait for costs what it did', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    await app.request()
    app.clock.advance(UNTIL_EXPIRED)
    const counted = await app.count(() => twentyAtOnce(app))
    expectCounts(`a refresh for twenty requests over ${setup}`, counted, rowFor(setup, TWENTY_AT_ONCE, { get: 20 }))
  })
})
