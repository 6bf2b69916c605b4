import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { OUTAGES } from '../../src/credentials/backoff.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import type { Answer, ScriptedProvider } from '../helpers/scripted-provider.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const HOUR = 3_600_000
const SECOND = 1000

let clock: FakeClock
/** Stands still but for the tests: a rest ends when they say so. */
let monotonic: number
beforeEach(() => {
  clock = fakeClock()
  monotonic = 1_000_000
  vi.spyOn(performance, 'now').mockImplementation(() => monotonic)
  vi.spyOn(Math, 'random').mockReturnValue(0)
})
afterEach(() => vi.restoreAllMocks())

function pass(ms: number): void {
  clock.advance(ms)
  monotonic += ms
}

interface Signed extends TestApp {
  /** Asks for something that needs a new token. Of alice, unless told otherwise. */
  ask(browser?: Browser): Promise<Page>
  refreshes(): number
  /** What refreshes are answered with; `undefined`: as usual. */
  answer(answer: Answer | undefined): void
}

/** Alice is signed in, and her token is over. Refreshing has no risks, so that nothing else limits how often it is tried. */
async function signedIn(options: TestAppOptions = {}): Promise<Signed> {
  const app = await startApp({
    storage: memoryStore({ clock: clock.now }),
    clock,
    ...options,
    client: (provider) => ({
      provider: { issuer: provider.issuer, refresh: { rotation: 'none' } },
      ...(typeof options.client === 'function' ? options.client(provider) : options.client),
    }),
  })
  const { browser, provider, url } = app
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  pass(HOUR)
  return {
    ...app,
    ask: (who = browser) => who.xhr(`${url}/profile`),
    refreshes: () => provider.count('token', 'refresh_token'),
    answer(answer) {
      provider.tokenAnswer = ({ grant_type }) => (grant_type === 'refresh_token' ? answer : undefined)
    },
  }
}

async function signInBob({ provider, url }: TestApp): Promise<Browser> {
  const bob = new Browser()
  const { tokenAnswer, user } = provider
  Object.assign(provider, { tokenAnswer: undefined, user: 'bob' } satisfies Partial<ScriptedProvider>)
  expect((await bob.goto(`${url}/profile`)).status).toBe(200)
  Object.assign(provider, { tokenAnswer, user })
  return bob
}

const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
const retryAfter = (page: Page) => Number(page.headers.get('retry-after'))
const DOWN = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
const REFUSED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']

describe('a provider that is down', () => {
  test.each<[string, Answer, (string | number)[]]>([
    ['500', { status: 500, body: {} }, DOWN],
    ['503', { status: 503, body: '<html>' }, DOWN],
    ['429', { status: 429, body: {} }, DOWN],
    ['a cut connection', { destroy: true }, DOWN],
    ['invalid_client', { status: 401, body: { error: 'invalid_client' } }, [500, 'FST_OAUTH2_CLIENT_REJECTED']],
  ])('%s: after ten times it is left alone, for longer and longer', async (_name, answer, code) => {
    const app = await signedIn()
    app.answer(answer)
    for (let i = 1; i <= OUTAGES; i += 1) {
      expect(codeOf(await app.ask())).toEqual(code)
      expect(app.refreshes()).toBe(i)
    }
    for (const [i, seconds] of [1, 2, 4, 8, 16, 32, 48, 48].entries()) {
      for (const before of [0, seconds * SECOND - 1]) {
        pass(before)
        const page = await app.ask()
        expect(codeOf(page)).toEqual(code)
        expect(retryAfter(page)).toBe(before ? 1 : seconds)
      }
      expect(app.refreshes()).toBe(OUTAGES + i)
      pass(1)
      expect(codeOf(await app.ask())).toEqual(code)
      expect(app.refreshes()).toBe(OUTAGES + 1 + i)
    }
  })

  test('no connection: the same', async () => {
    let tries = 0
    let down = false
    const app = await signedIn({
      client: {
        fetch: async (input, init) => {
          if (!down) return fetch(input, init)
          tries += 1
          throw new TypeError('fetch failed', { cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }) })
        },
      },
    })
    down = true
    for (let i = 0; i < 20; i += 1) expect(codeOf(await app.ask())).toEqual(DOWN)
    expect(tries).toBe(OUTAGES)
  })

  test('no metadata: the same', async () => {
    const storage = memoryStore({ clock: clock.now })
    const options = { storage, variant: sessionVariants[2]! }
    const { provider, browser } = await signedIn(options)
    const before = provider.count('discovery')
    provider.discoveryAnswer = () => ({ status: 500, body: {} })
    // Started while it is down: it has nothing to go by.
    const { url } = await startApp({ ...options, provider, clock })
    for (let i = 0; i < 20; i += 1) {
      expect(codeOf(await browser.xhr(`${url}/profile`))).toEqual(DOWN)
    }
    expect(provider.count('discovery') - before).toBe(OUTAGES)
  })

  test('rests are of different lengths in different processes, and a minute at most', async () => {
    const app = await signedIn()
    vi.mocked(Math.random).mockReturnValue(0.999_999)
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES; i += 1) await app.ask()
    for (const seconds of [2, 3, 5, 10, 20, 40, 60, 60]) {
      expect(retryAfter(await app.ask())).toBe(seconds)
      pass(seconds * SECOND)
      await app.ask()
    }
  })

  test('then one request tries, and the others hear of it later', async () => {
    const app = await signedIn()
    const bob = await signInBob(app)
    pass(HOUR)
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES; i += 1) await app.ask()
    pass(SECOND)
    const hold = app.provider.hold('token', 'before')
    const first = app.ask()
    await hold.arrived()
    const second = await app.ask(bob)
    expect([...codeOf(second), retryAfter(second)]).toEqual([...DOWN, 1])
    app.answer(undefined)
    hold.release()
    expect((await first).status).toBe(200)
    expect((await app.ask(bob)).status).toBe(200)
    expect(app.refreshes()).toBe(OUTAGES + 2)
  })

  test('a success starts the count again', async () => {
    const app = await signedIn()
    for (let round = 1; round <= 3; round += 1) {
      app.answer({ status: 500, body: {} })
      for (let i = 0; i < OUTAGES - 1; i += 1) expect(codeOf(await app.ask())).toEqual(DOWN)
      app.answer(undefined)
      expect((await app.ask()).status).toBe(200)
      expect(app.refreshes()).toBe(OUTAGES * round)
      pass(HOUR)
    }
  })

  test('many requests that fail at once make one rest, and not a long one', async () => {
    const app = await signedIn()
    const bob = await signInBob(app)
    pass(HOUR)
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES - 1; i += 1) await app.ask()
    const hold = app.provider.hold('token', 'before')
    const pages = [app.ask(), app.ask(bob)]
    await hold.arrived(2)
    hold.release()
    await Promise.all(pages)
    expect(retryAfter(await app.ask())).toBe(1)
  })

  test('credentials that work are used meanwhile', async () => {
    const app = await signedIn()
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES + 1; i += 1) await app.ask()
    const bob = await signInBob(app)
    expect((await app.ask(bob)).status).toBe(200)
  })

  test('somebody whose grant is over says nothing about the provider', async () => {
    const app = await signedIn()
    const bob = await signInBob(app)
    pass(HOUR)
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES - 1; i += 1) await app.ask()
    app.answer({ status: 400, body: { error: 'invalid_grant' } })
    expect(codeOf(await app.ask(bob))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    app.answer({ status: 500, body: {} })
    for (let i = 0; i < OUTAGES - 1; i += 1) await app.ask()
    expect(app.refreshes()).toBe(2 * OUTAGES - 1)
  })
})

describe('Retry-After', () => {
  test.each([
    [429, '20', 20],
    [503, '20', 20],
    [429, '3000', 60],
  ])('%i, %s s: nothing is sent for %i s', async (status, told, seconds) => {
    const app = await signedIn()
    app.answer({ status, headers: { 'retry-after': told }, body: {} })
    // Whoever asked is told what the provider said; it is tried again all the same, until it is an outage.
    for (let i = 0; i < OUTAGES; i += 1) expect(retryAfter(await app.ask())).toBe(Number(told))
    app.answer(undefined)
    expect(retryAfter(await app.ask())).toBe(seconds)
    pass(seconds * SECOND - 1)
    expect(codeOf(await app.ask())).toEqual(DOWN)
    expect(app.refreshes()).toBe(OUTAGES)
    pass(1)
    expect((await app.ask()).status).toBe(200)
  })

  test.each([
    [500, '20'],
    [429, '0'],
    [429, 'soon'],
  ])('%i, %s: no reason to wait', async (status, told) => {
    const app = await signedIn()
    app.answer({ status, headers: { 'retry-after': told }, body: {} })
    await app.ask()
    app.answer(undefined)
    expect((await app.ask()).status).toBe(200)
  })
})

describe('a refresh token that is refused, though not for good', () => {
  const refusal: Answer = { status: 400, body: { error: 'invalid_scope' } }

  test('after three times it rests, and nobody else’s does', async () => {
    const app = await signedIn()
    const bob = await signInBob(app)
    pass(HOUR)
    app.answer(refusal)
    for (let i = 1; i <= 3; i += 1) {
      expect(codeOf(await app.ask())).toEqual(REFUSED)
      expect(app.refreshes()).toBe(i)
    }
    for (const before of [0, 10 * SECOND - 1]) {
      pass(before)
      const page = await app.ask()
      expect([...codeOf(page), retryAfter(page)]).toEqual([...REFUSED, before ? 1 : 10])
    }
    expect(app.refreshes()).toBe(3)
    await app.ask(bob)
    expect(app.refreshes()).toBe(4)
    pass(1)
    await app.ask()
    await app.ask()
    expect(app.refreshes()).toBe(5)
    pass(10 * SECOND)
    app.answer(undefined)
    expect((await app.ask()).status).toBe(200)
  })

  test('a success forgets the refusals before it', async () => {
    const app = await signedIn()
    for (let round = 1; round <= 3; round += 1) {
      app.answer(refusal)
      for (let i = 0; i < 2; i += 1) await app.ask()
      app.answer(undefined)
      expect((await app.ask()).status).toBe(200)
      expect(app.refreshes()).toBe(3 * round)
      pass(HOUR)
    }
  })

  test('a new refresh token starts anew', async () => {
    const app = await signedIn()
    app.answer(refusal)
    for (let i = 0; i < OUTAGES; i += 1) await app.ask()
    expect(app.refreshes()).toBe(3)
    await app.browser.goto(`${app.url}/oauth2authorize?return_url=/profile`)
    pass(HOUR)
    await app.ask()
    expect(app.refreshes()).toBe(4)
  })
})
