/** What a guarded request costs. */
import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { rowFor, SETUPS, startCountedApp, type Table, UNTIL_EXPIRED } from './app.js'
import { startCountingCalls, stopCountingCalls } from './calls.js'
import { type Expected, expectCounts } from './expect.js'

const NOTHING_READ = { objects: { RequestCredentials: 1 } }
/** The session's own copy of the credentials, and where it is. */
const IN_SESSION = { objects: { RequestCredentials: 1, RequestSlot: 1, SessionVault: 1 } }
const AT_HAND = { store: { peek: 1 }, objects: { RequestCredentials: 1 } }
const ONE_READ = { store: { get: 1 }, objects: { RequestCredentials: 1 } }

/** Of somebody who is signed in, and whose credentials were used a moment ago. */
const SIGNED_IN: Table = {
  session: IN_SESSION,
  'encrypted session': IN_SESSION,
  memory: AT_HAND,
  shared: NOTHING_READ,
  'shared without cache': ONE_READ,
}

/** Where what was read is too old by now. */
const READ_AGAIN: Table = { ...SIGNED_IN, shared: ONE_READ }

/** Twenty of those at once: who makes do with what was read a moment ago waits for what is being read. */
const TWENTY_READ_AGAIN: Table = {
  session: { objects: { RequestCredentials: 20, RequestSlot: 20, SessionVault: 20 } },
  'encrypted session': { objects: { RequestCredentials: 20, RequestSlot: 20, SessionVault: 20 } },
  memory: { store: { peek: 20 }, objects: { RequestCredentials: 20 } },
  shared: { store: { get: 1 }, objects: { RequestCredentials: 20 } },
  'shared without cache': { store: { get: 20 }, objects: { RequestCredentials: 20 } },
}

/** A script of somebody who is not signed in: a 401 in JSON, in every set-up. */
const STRANGER: Expected = { crypto: { randomBytes: 2, createCipheriv: 2 }, objects: { RequestCredentials: 1 } }

describe.each(SETUPS)('%s', (setup) => {
  test('a guarded request costs what it did', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    await app.request()
    const counted = await app.count(() => app.request())
    expectCounts(`a guarded request over ${setup}`, counted, rowFor(setup, SIGNED_IN, { get: 1 }))
    // Whatever the table will say: it changes nothing, so it writes nothing.
    expect(counted).toMatchObject({ cookies: {}, openedAgain: 0, provider: {} })
    expect(
      [...Object.keys(counted.session), ...Object.keys(counted.store)].filter(
        (call) => call !== 'get' && call !== 'peek',
      ),
    ).toEqual([])
  })

  test('a guarded request costs no more because somebody else had a refresh', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    app.clock.advance(UNTIL_EXPIRED)
    await app.request()
    await app.signIn()
    await app.request()
    const counted = await app.count(() => app.request())
    expectCounts(`a guarded request after a refresh over ${setup}`, counted, rowFor(setup, SIGNED_IN, { get: 1 }))
  })

  test('a guarded request two seconds later costs what it did', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    app.clock.advance(2_000)
    await app.request()
    app.clock.advance(2_000)
    expectCounts(
      `a guarded request two seconds later over ${setup}`,
      await app.count(() => app.request()),
      rowFor(setup, READ_AGAIN, { get: 1 }),
    )
  })

  test('twenty guarded requests at once read what is too old by now once', async () => {
    const app = await startCountedApp(setup)
    await app.signIn()
    await app.request()
    app.clock.advance(2_000)
    expectCounts(
      `twenty guarded requests at once over ${setup}`,
      await app.count(() => app.atOnce(20)),
      rowFor(setup, TWENTY_READ_AGAIN, { get: 20 }),
    )
  })

  test('a guarded request of a stranger costs what it did', async () => {
    const app = await startCountedApp(setup)
    const stranger = async () => {
      expect((await app.browser.xhr(`${app.url}/guarded`)).status).toBe(401)
    }
    await stranger()
    expectCounts(`a stranger's request over ${setup}`, await app.count(stranger), STRANGER)
  })

  test('what was sealed is opened once, however many requests come after a sign-in', async () => {
    const app = await startCountedApp(setup)
    const { openedAgain } = await app.count(async () => {
      await app.signIn()
      for (let count = 0; count < 5; count += 1) {
        app.clock.advance(2_000)
        await app.request()
      }
    })
    expect(openedAgain).toBe(0)
  })
})

test('scopes are read when a guard is made, and never for a request', async () => {
  const parsed = (made: () => unknown) => {
    startCountingCalls()
    made()
    return stopCountingCalls().functionsOf('provider/scopes.ts').parseScopes
  }
  let ofClient: number | undefined
  const app = await startCountedApp('@fastify/session, shared', (fastify) => {
    fastify.after(() => {
      ofClient = parsed(() => fastify.oauth2.requireOAuth('openid email'))
    })
  })
  expect({ of: parsed(() => requireOAuth('openid email')), ofClient }).toEqual({ of: 1, ofClient: 2 })
  await app.signIn()
  startCountingCalls()
  await app.request()
  const called = stopCountingCalls().functionsOf('provider/scopes.ts')
  // That something of the file was called shows that calls were counted.
  expect(called).toMatchObject({ covers: expect.any(Number) })
  expect(Object.keys(called).filter((name) => /^(parseScopes|readScopes|union)$/.test(name))).toEqual([])
})
