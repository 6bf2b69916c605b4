/**
 * N3: a browser is signed in to the attacker's account at the provider, and the person in front of it to their own user of the
 * app. Whoever lures them into a flow must not have the attacker's account connected to that user.
 */
import Fastify, { type FastifyRequest } from 'fastify'
import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, {
  type Authorized,
  type AuthorizeUrlOptions,
  type CredentialStore,
  callbackRouteOptions,
  handleCallback,
  handleConfirm,
  type OAuth2ClientOptions,
  requireOAuth,
} from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { type AuthorizationServer, startAuthorizationServer } from '../../src/testing/index.js'
import { startApp } from '../helpers/app.js'
import { Browser, type NavigateOptions, type Page } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { listen } from '../helpers/listen.js'
import { captureLogs } from '../helpers/log-capture.js'
import {
  describeEachSession,
  type SessionOptions,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'

const EVIL = 'https://evil.example/'
const REQUIRED = 'FST_OAUTH2_CONFIRMATION_REQUIRED'
/** Signed in to the app as that user. */
const as = (user: string) => ({ headers: { 'x-user': user } })
const VICTIM = as('victim')
const lured: NavigateOptions = { ...VICTIM, from: EVIL }

let server: AuthorizationServer
const issued: string[] = []

beforeAll(async () => {
  server = await startAuthorizationServer({ scopes: { 'files.read': {} } })
  return () => server.close()
})
beforeEach(() => {
  server.autoApprove = { user: 'mallory' }
})

interface Options {
  readonly variant?: SessionVariant
  readonly session?: SessionOptions
  readonly storage?: 'session' | CredentialStore
  readonly clock?: FakeClock
  readonly client?: Partial<OAuth2ClientOptions>
}

async function start({ variant = sessionVariants[0], session, storage = memoryStore(), client, ...options }: Options) {
  const clock = options.clock ?? fakeClock()
  const logs = captureLogs()
  const authorized: Authorized[] = []
  const app = Fastify({ logger: logs.logger })
  onTestFinished(() => app.close())
  variant?.register(app, session)
  app.register(oauth2Client, {
    provider: { issuer: server.issuer },
    clientId: server.clientId,
    clientSecret: server.clientSecret,
    storage,
    clock: clock.now,
    userKey: (request) => request.headers['x-user'] as string | undefined,
    onAuthorized: (_request, event) => void authorized.push(event),
    // What the provider hands out, to look for wherever it must not be.
    fetch: async (input, init) => {
      const response = await fetch(input, init)
      if (String(input).endsWith('/token')) {
        const tokens = (await response.clone().json()) as Record<string, unknown>
        issued.push(...[tokens.access_token, tokens.refresh_token, tokens.id_token].map(String))
      }
      return response
    },
    ...client,
  })
  app.get('/files', { onRequest: requireOAuth('files.read') }, async ({ oauth2 }) => ({ email: oauth2.email }))
  app.get('/accounts', async ({ oauth2 }) => (await oauth2.load()).accounts().map(({ id }) => id))
  app.get('/link', async ({ oauth2, query }) => {
    await oauth2.load()
    return oauth2.authorizeUrl('/accounts', query as AuthorizeUrlOptions)
  })
  app.get('/token', async ({ oauth2 }) => {
    await oauth2.load()
    return oauth2.xsrfToken
  })
  const url = await listen(app)
  const browser = new Browser()
  const accounts = async (of: Browser = browser, user = 'victim') => (await of.xhr(`${url}/accounts`, as(user))).json()
  return { app, url, browser, clock, logs, authorized, accounts }
}

type Started = Awaited<ReturnType<typeof start>>

const lure = ({ browser, url }: Pick<Started, 'browser' | 'url'>, path = '/oauth2authorize?return_url=/accounts') =>
  browser.goto(url + path, lured)

function expectQuestion(page: Page): void {
  expect([page.status, page.body]).toEqual([403, expect.stringContaining(REQUIRED)])
  expect(page.forms.map(({ method }) => method)).toEqual(['POST', 'POST'])
}

describeEachSession((variant) => {
  describe.each(['session', 'store'] as const)('N3 with credentials in the %s', (place) => {
    const begin = (options: Options = {}) =>
      start({ variant, storage: place === 'session' ? 'session' : memoryStore(), ...options })

    test('begun on another site: the person is asked, and nothing is stored or linked', async () => {
      const started = await begin()
      const page = await lure(started)
      expectQuestion(page)
      expect(page.body).toContain('mallory@example.test')
      expect(page.body).toContain(new URL(server.issuer).host)
      expect(page.body).toContain(new URL(started.url).host)
      expect(page.body).not.toMatch(/<script|javascript:|src=/i)
      expect(Object.fromEntries(page.headers)).toMatchObject({
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
      })
      expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
      expect(await started.accounts()).toEqual([])
      expect(started.authorized).toEqual([])
      // Nor does the page that a guard protects take it for signed in.
      expect((await started.browser.xhr(`${started.url}/files`, VICTIM)).status).toBe(401)
    })

    test('the first form connects it, as the callback would have done', async () => {
      const started = await begin()
      const { browser, url, authorized } = started
      const page = await browser.submit(await lure(started, '/files?a=b'), 0, {}, VICTIM)
      expect(page.chain[0]).toMatchObject({ status: 303 })
      expect([page.url, page.json()]).toEqual([`${url}/files?a=b`, { email: 'mallory@example.test' }])
      expect(await started.accounts()).toEqual(['sub-mallory'])
      expect(authorized).toMatchObject([{ user: 'victim', returnUrl: '/files?a=b', claims: { sub: 'sub-mallory' } }])
      expect(browser.cookies().filter(({ name }) => name.startsWith('oauth2client.'))).toEqual([])
    })

    test('the second form stores nothing, and the guard does not ask again by itself', async () => {
      const started = await begin()
      const { browser, url, authorized } = started
      const question = await lure(started, '/files')
      const page = await browser.submit(question, 1, {}, VICTIM)
      expect([page.url, page.status]).toEqual([`${url}/files`, 403])
      expect(page.body).toContain('FST_OAUTH2_ACCESS_DENIED')
      // A yes after the no is too late.
      const late = await browser.submit(question, 0, {}, VICTIM)
      expect([late.status, late.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
      expect(late.body).toContain('<h1>')
      expect([await started.accounts(), authorized]).toEqual([[], []])
      expect(server.revocations).toEqual([])
    })

    test('a reload and the back button show the question again; afterwards they lead to where it led', async () => {
      const started = await begin()
      const { browser, url, clock } = started
      const first = await lure(started)
      clock.advance(60_000)
      const tokens = server.tokenRequests.length
      const again = await browser.goto(first.url, { ...VICTIM, from: EVIL })
      expectQuestion(again)
      expect((await browser.submit(again, 0, {}, VICTIM)).url).toBe(`${url}/accounts`)
      const back = await browser.goto(first.url, { ...VICTIM, from: EVIL })
      expect([back.status, back.url, back.json()]).toEqual([200, `${url}/accounts`, ['sub-mallory']])
      clock.advance(60_000)
      expect((await browser.submit(first, 0, {}, VICTIM)).url).toBe(`${url}/accounts`)
      expect(server.tokenRequests.length).toBe(tokens)
      expect(started.authorized.length).toBe(1)
    })

    test('without the token of this form, nothing happens', async () => {
      const started = await begin()
      const { browser, url } = started
      const page = await lure(started)
      const other = await lure(started)
      const tokenOf = ({ forms }: Page) => forms[0]?.fields.find(({ name }) => name === '_csrf')?.value as string
      const ofSignOut = (await browser.xhr(`${url}/token`, VICTIM)).body
      const forged = `${tokenOf(page).slice(0, -3)}AAA`
      for (const token of [null, '', 'x', forged, ofSignOut, tokenOf(other)]) {
        const refused = await browser.submit(page, 0, { _csrf: token }, VICTIM)
        expect([token, refused.status]).toEqual([token, 403])
        expect(refused.body).toContain('FST_OAUTH2_XSRF_INVALID')
      }
      // A stranger's page can make the browser post; it knows no token, and Lax cookies stay at home.
      const thence = { ...page, url: EVIL, forms: absolute(page) }
      expect((await browser.clone().submit(thence, 0, {}, VICTIM)).status).toBe(403)
      expect(await started.accounts()).toEqual([])
      expect((await browser.submit(other, 0, {}, VICTIM)).json()).toEqual(['sub-mallory'])
    })

    test('somebody else at the form than at the callback gets nothing, nor does another browser', async () => {
      const started = await begin()
      const { browser, url } = started
      const page = await lure(started)
      const refused = await browser.submit(page, 0, {}, as('other'))
      expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
      expect((await browser.goto(page.url, { ...as('other'), from: EVIL })).status).toBe(403)
      expect((await browser.submit(page, 0, {}, as(''))).status).toBe(401)
      const stranger = new Browser()
      await stranger.goto(`${url}/token`, VICTIM)
      expect((await stranger.submit(page, 0, {}, VICTIM)).status).toBe(403)
      expect((await stranger.goto(page.url, lured)).status).toBe(400)
      for (const user of ['victim', 'other']) expect(await started.accounts(browser, user)).toEqual([])
    })

    test('sent twice, also at once, it is connected once', async () => {
      const started = await begin()
      const { browser, url, authorized } = started
      const page = await lure(started)
      const both = await Promise.all([0, 0].map((form) => browser.submit(page, form, {}, VICTIM)))
      expect(both.map((end) => end.url)).toEqual([`${url}/accounts`, `${url}/accounts`])
      expect((await browser.submit(page, 0, {}, VICTIM)).url).toBe(`${url}/accounts`)
      expect(await started.accounts()).toEqual(['sub-mallory'])
      expect(authorized.length).toBe(1)
    })

    test('a browser without the session is not asked, nor told what the question was', async () => {
      const question = await lure(await begin())
      const page = await new Browser().goto(question.url, VICTIM)
      expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
      expect(page.body).not.toContain('mallory')
    })

    test('two people who answer within a moment get their own accounts, and not those of each other', async () => {
      const started = await begin()
      const { browser, url } = started
      const other = new Browser()
      const first = await lure(started)
      server.autoApprove = { user: 'bob' }
      const second = await other.goto(`${url}/oauth2authorize?return_url=/accounts`, { ...as('second'), from: EVIL })
      expect((await browser.submit(first, 0, {}, VICTIM)).json()).toEqual(['sub-mallory'])
      expect((await other.submit(second, 0, {}, as('second'))).json()).toEqual(['sub-bob'])
    })

    test('after ten minutes it is too late', async () => {
      const started = await begin()
      const { browser, clock } = started
      const page = await lure(started)
      clock.advance(600_000)
      for (const form of [0, 1]) {
        const late = await browser.submit(page, form, {}, VICTIM)
        expect([late.status, late.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
      }
      expect((await browser.goto(page.url, lured)).status).toBe(400)
      expect(await started.accounts()).toEqual([])
    })

    test('A17: who was signed out everywhere while the question was open is asked to begin anew', async () => {
      const started = await begin()
      const { app, browser, clock } = started
      const page = await lure(started)
      clock.advance(1_000)
      await app.oauth2.signOutEverywhere('victim')
      clock.advance(1_000)
      const late = await browser.submit(page, 0, {}, VICTIM)
      expect([late.status, late.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SIGNED_OUT')])
      expect(await started.accounts()).toEqual([])
    })

    test('two questions at once: a form connects the account that it names, or none', async () => {
      const started = await begin()
      const first = await lure(started)
      server.autoApprove = { user: 'alice' }
      const second = await lure(started)
      const page = await started.browser.submit(first, 0, {}, VICTIM)
      expect(await started.accounts()).toEqual(page.status === 200 ? ['sub-mallory'] : [])
      expect((await started.browser.submit(second, 0, {}, VICTIM)).status).toBe(200)
      expect(await started.accounts()).toEqual(['sub-alice'])
    })

    test.each(['declined before', 'while the provider was down'])(
      'another try from the page of a guard is still the wish of another site (%s)',
      async (name) => {
        let down = name !== 'declined before'
        const { browser, url } = await begin({
          client: {
            fetch: async (input, init) => (down ? new Response('', { status: 503 }) : fetch(input, init)),
          },
        })
        if (!down) {
          server.autoApprove = { user: 'mallory', refuse: true }
          expect((await browser.goto(`${url}/files`, VICTIM)).status).toBe(403)
          server.autoApprove = { user: 'mallory' }
        }
        const stopped = await browser.goto(`${url}/files`, lured)
        expect([stopped.status, stopped.chain.length]).toEqual([down ? 503 : 403, 1])
        down = false
        const href = /<a class="way" href="([^"]+)"/.exec(stopped.body)?.[1]?.replaceAll('&#38;', '&') as string
        expectQuestion(await browser.goto(url + href, { ...VICTIM, from: stopped }))
      },
    )

    test('begun here it is linked at once, and so is an account that the user has', async () => {
      const started = await begin()
      const { browser, url } = started
      for (const from of [`${url}/accounts`, undefined]) {
        const own = new Browser()
        const page = await own.goto(`${url}/oauth2authorize?return_url=/files`, {
          ...VICTIM,
          ...(from === undefined ? {} : { from }),
        })
        expect([from, page.json()]).toEqual([from, { email: 'mallory@example.test' }])
      }
      await browser.goto(`${url}/files`, VICTIM)
      expect((await lure(started, '/files')).status).toBe(200)
      expect((await lure(started)).json()).toEqual(['sub-mallory'])
      server.autoApprove = { user: 'alice' }
      const more = (await browser.xhr(`${url}/link?account=new`, VICTIM)).body
      expectQuestion(await lure(started, more))
      expect(await started.accounts()).toEqual(['sub-mallory'])
      // One more takes its place beside the others.
      const page = await browser.submit(await lure(started, more), 0, {}, VICTIM)
      expect(page.json()).toEqual(['sub-mallory', 'sub-alice'])
    })

    test('the answer says what an app needs for a page of its own, and a program gets the same', async () => {
      const own = await begin({
        client: {
          onError: (error, _request, reply) => reply.code(409).type('text/html').send(JSON.stringify(error.details)),
        },
      })
      const page = await lure(own)
      const program = await begin()
      const stopped = await program.browser.goto(`${program.url}/oauth2authorize?return_url=/accounts`, {
        ...lured,
        stopAt: ({ pathname }) => pathname === '/oauth2callback',
      })
      const answer = await program.browser.xhr(stopped.location as string, VICTIM)
      expect([page.status, answer.status, answer.json().code]).toEqual([409, 403, REQUIRED])
      for (const [{ url, browser }, details] of [
        [own, page.json()],
        [program, answer.json()],
      ] as const) {
        expect(details).toMatchObject({
          account: { id: 'sub-mallory', email: 'mallory@example.test' },
          provider: new URL(server.issuer).host,
          application: new URL(url).host,
          confirmUrl: expect.stringMatching(/^\/oauth2callback\/confirm\?flow=[\w-]{43}$/),
        })
        const body = { _csrf: details._csrf }
        const done = await browser.xhr(url + details.confirmUrl, { ...VICTIM, method: 'POST', body })
        expect([done.status, done.location]).toEqual([303, `${url}/accounts`])
        expect((await browser.xhr(`${url}/accounts`, VICTIM)).json()).toEqual(['sub-mallory'])
      }
    })

    test('L3: no token is in an answer, a log, or readable where it waits', async () => {
      const map = new Map<string, MemoryEntry>()
      const store = new SlowSessionStore(0)
      const started = await begin({
        session: { store },
        ...(place === 'store' ? { storage: memoryStore({ map }) } : {}),
      })
      const { browser, clock, logs } = started
      issued.length = 0
      const pages = [await lure(started), await lure(started), await lure(started)]
      await browser.submit(pages[0] as Page, 1, {}, VICTIM)
      await browser.submit(pages[2] as Page, 0, {}, VICTIM)
      clock.advance(600_000)
      await browser.submit(pages[1] as Page, 0, {}, VICTIM)
      const secrets = [...issued, ...server.tokenRequests.flatMap(({ params }) => [params.code, params.code_verifier])]
      expect(issued.length).toBe(9)
      const text = [
        browser.received(({ url }) => url.startsWith(started.url)),
        logs.text(),
        JSON.stringify([...map]),
        ...store.records.values(),
      ].join('\n')
      for (const secret of secrets) if (secret && secret.length > 8) expect(text.includes(secret)).toBe(false)
      expect(logs.text()).toContain('/oauth2callback/confirm?…')
      expect(logs.text()).not.toContain('mallory')
    })
  })

  test('two processes: one asks, and the other one is told', async () => {
    const store: CredentialStore = { ...memoryStore(), shared: true }
    const clock = fakeClock()
    const session = { store: new SlowSessionStore(1) }
    const options = { variant, session, storage: store, clock, client: { encryptionKeys: 'k'.repeat(32) } }
    const [one, other] = [await start(options), await start(options)]
    const elsewhere = (page: Page) => ({ ...page, url: page.url.replace(one.url, other.url) })
    const question = await lure(one)
    const [page, twin] = await Promise.all([
      one.browser.submit(elsewhere(question), 0, {}, VICTIM),
      one.browser.submit(question, 0, {}, VICTIM),
    ])
    expect([page.url, twin.url]).toEqual([`${other.url}/accounts`, `${one.url}/accounts`])
    expect(await one.accounts()).toEqual(['sub-mallory'])
    expect(one.authorized.length + other.authorized.length).toBe(1)
    for await (const key of store.list?.('pending/') ?? []) expect.unreachable(key)
  })
})

function absolute({ forms, url }: Page): Page['forms'] {
  return forms.map((form) => ({ ...form, action: new URL(form.action, url).href }))
}

describe('N3: what counts as begun on another site', () => {
  const question = async (headers: Record<string, string | null>) => {
    const { browser, url } = await start({})
    const page = await browser.goto(`${url}/oauth2authorize`, {
      headers: {
        ...VICTIM.headers,
        ...Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, v?.replace('$', url) ?? null])),
      },
      stopAt: ({ pathname }) => pathname === '/oauth2callback',
    })
    return (await browser.goto(page.location as string, VICTIM)).body.includes(REQUIRED)
  }
  const old = { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null }

  test.each<[string, boolean, Record<string, string | null>]>([
    ['a link of ours', false, { 'sec-fetch-site': 'same-origin' }],
    ['the address bar, or a bookmark', false, { 'sec-fetch-site': 'none' }],
    ['another host of the domain', true, { 'sec-fetch-site': 'same-site' }],
    ['another site', true, { 'sec-fetch-site': 'cross-site' }],
    ['a word that nobody knows yet', true, { 'sec-fetch-site': 'same-planet' }],
    ['a referrer of ours cannot outweigh it', true, { 'sec-fetch-site': 'cross-site', referer: '$/files' }],
    ['an old browser, from a page of ours', false, { ...old, referer: '$/files' }],
    ['a program that is no browser', false, { ...old, 'user-agent': 'undici' }],
    ['an old browser, from another site', true, { ...old, referer: EVIL }],
    ['an old browser, from a site that looks like ours', true, { ...old, referer: '$.evil.example/' }],
    ['an old browser, from a site that hides', true, { ...old }],
  ])('%s: asked %s', async (_name, asked, headers) => {
    expect(await question(headers)).toBe(asked)
  })

  test('a guard that redirects whom another site sent', async () => {
    expectQuestion(await lure(await start({}), '/files'))
  })

  test('a link that names an account, and was made for the user who has it', async () => {
    const started = await start({})
    const { browser, url } = started
    const attacker = new Browser()
    await attacker.goto(`${url}/oauth2authorize`, as('attacker'))
    const link = (await attacker.xhr(`${url}/link?account=sub-mallory`, as('attacker'))).body
    expectQuestion(await lure(started, link))
    expect(await started.accounts()).toEqual([])
    // The user who has it is not asked.
    expect((await attacker.goto(url + link, { ...as('attacker'), from: EVIL })).json()).toEqual(['sub-mallory'])
    expect(browser.cookies().filter(({ name }) => name.includes('flow.'))).toEqual([])
  })

  test.each(['account=new', 'account=sub-mallory'])(
    'an account that is confirmed joins the others: %s',
    async (query) => {
      const started = await start({})
      const { browser, url, accounts } = started
      server.autoApprove = { user: 'victim' }
      await browser.goto(`${url}/oauth2authorize?return_url=/accounts`, { ...VICTIM, from: `${url}/` })
      expect(await accounts()).toEqual(['sub-victim'])
      server.autoApprove = { user: 'mallory' }
      const attacker = new Browser()
      await attacker.goto(`${url}/oauth2authorize`, as('attacker'))
      const question = await lure(started, (await attacker.xhr(`${url}/link?${query}`, as('attacker'))).body)
      expectQuestion(question)
      expect(await accounts()).toEqual(['sub-victim'])
      await browser.submit(question, 0, {}, VICTIM)
      expect(await accounts()).toEqual(['sub-victim', 'sub-mallory'])
    },
  )

  test.each([true, false])('consent that is asked for again on the way: begun elsewhere %s', async (elsewhere) => {
    const started = await start({
      client: {
        offline: 'required',
        authorizationParams: { access_type: 'offline' },
        fetch: async (input, init) => {
          server.tweak.omitRefreshToken = String(input).endsWith('/token') && server.tokenRequests.length === before
          return fetch(input, init)
        },
      },
    })
    const { browser, url } = started
    const before = server.tokenRequests.length
    const from = elsewhere ? EVIL : `${url}/`
    const page = await browser.goto(`${url}/oauth2authorize?return_url=/accounts`, { ...VICTIM, from })
    expect(page.chain.filter((hop) => hop.url.includes('/oauth2callback')).length).toBe(2)
    if (elsewhere) expectQuestion(page)
    const end = elsewhere ? await browser.submit(page, 0, {}, VICTIM) : page
    expect(end.json()).toEqual(['sub-mallory'])
  })

  test('a page of ours with a way on, which another site sent the person to', async () => {
    const started = await start({})
    const { browser, url } = started
    const failed = await browser.goto(`${url}/oauth2callback?state=x&code=y`, lured)
    expect(failed.status).toBe(400)
    const again = /href="([^"]+)"/.exec(failed.body)?.[1] as string
    expectQuestion(await browser.goto(url + again, { ...VICTIM, from: failed }))
    // Once asked, what follows is judged by itself.
    const page = await browser.goto(`${url}/oauth2authorize?return_url=/accounts`, { ...VICTIM, from: `${url}/` })
    expect(page.json()).toEqual(['sub-mallory'])
  })

  const wayOn = ({ body }: Page) => /href="([^"]+)"/.exec(body)?.[1]?.replaceAll('&#38;', '&') as string

  test.each([true, false])('another try after a refusal at the provider: begun elsewhere %s', async (elsewhere) => {
    const { browser, url, provider } = await startApp({
      storage: memoryStore(),
      client: { userKey: ({ headers }) => headers['x-user'] as string | undefined },
    })
    provider.authorizeAnswer = ({ state = '' }) => ({ state, iss: provider.issuer, error: 'access_denied' })
    const from = elsewhere ? EVIL : `${url}/`
    const refused = await browser.goto(`${url}/files`, { ...VICTIM, from })
    expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
    provider.authorizeAnswer = undefined
    const asked = await browser.clone().step(url + wayOn(refused), { ...VICTIM, from: refused })
    expect(new URL(asked.location as string).searchParams.get('scope')).toContain('files.read')
    const page = await browser.goto(url + wayOn(refused), { ...VICTIM, from: refused })
    if (elsewhere) expectQuestion(page)
    else expect([page.status, page.url]).toEqual([200, `${url}/files`])
  })

  test('another try after a form of ours that did not count', async () => {
    const started = await start({})
    const { browser, url } = started
    const refused = await browser.submit(await lure(started), 0, { _csrf: 'x' }, VICTIM)
    expect([refused.status, refused.headers.get('referrer-policy')]).toEqual([403, 'no-referrer'])
    expectQuestion(await browser.goto(url + wayOn(refused), { ...VICTIM, from: refused }))
    expect(await started.accounts()).toEqual([])
  })

  test("the app's own sign-in, which another site sent the person to", async () => {
    const users = new Set<string>()
    const userKey = ({ headers, ip }: FastifyRequest) => (users.has(ip) ? String(headers['x-user']) : undefined)
    const started = await start({ client: { loginPath: '/accounts', userKey } })
    const { browser, url } = started
    expect((await lure(started, '/files')).url).toContain('/accounts?return_url=%2Ffiles')
    users.add('127.0.0.1').add('::1')
    expectQuestion(await browser.goto(`${url}/files`, { ...VICTIM, from: `${url}/accounts` }))
  })
})

describe('N3: who is not asked', () => {
  test('an app without users of its own: whoever signs in is the user', async () => {
    const { browser, url } = await start({ client: { userKey: undefined as never } })
    const page = await browser.goto(`${url}/files`, { from: EVIL })
    expect(page.json()).toEqual({ email: 'mallory@example.test' })
    expect((await browser.step(`${url}/oauth2callback/confirm`, { method: 'POST' })).status).toBe(404)
  })

  test('a sign-in that finds or creates the user: there is nobody yet to plant an account with', async () => {
    const { browser, url } = await start({
      client: {
        userKey: ({ headers }) => headers['x-user'] as string | undefined,
        resolveUser: (request, { claims }) => {
          request.headers['x-user'] = `user of ${claims?.sub}`
          return `user of ${claims?.sub}`
        },
      },
    })
    const page = await browser.goto(`${url}/oauth2authorize?return_url=/accounts`, { from: EVIL })
    expect([page.status, page.url]).toEqual([200, `${url}/accounts`])
    // Somebody who is signed in to the app is asked all the same.
    expectQuestion(await browser.goto(`${url}/oauth2authorize`, lured))
  })
})

describe('N3: the route', () => {
  test('only POST, and the query stays out of the log', async () => {
    const { browser, url, logs } = await start({})
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
      const page = await browser.step(`${url}/oauth2callback/confirm?flow=secret`, { ...VICTIM, method })
      expect([method, page.status, page.headers.get('allow')]).toEqual([method, 405, 'POST'])
    }
    expect(logs.text()).not.toContain('flow=secret')
    for (const flow of ['', 'x', '__proto__']) {
      const page = await browser.step(`${url}/oauth2callback/confirm?flow=${flow}`, { ...VICTIM, method: 'POST' })
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_XSRF_INVALID')])
    }
    const toProgram = await browser.xhr(`${url}/oauth2callback/confirm?flow=x`, { ...VICTIM, method: 'POST' })
    expect([toProgram.status, toProgram.headers.get('referrer-policy')]).toEqual([403, 'no-referrer'])
  })

  test('an account is not called by an address that the provider does not vouch for', async () => {
    const { browser, url, provider } = await startApp({ storage: memoryStore(), client: { userKey: () => 'victim' } })
    provider.idTokenClaims = (claims) => ({ ...claims, email: 'victim@example.com', email_verified: false })
    const page = await browser.goto(`${url}/oauth2authorize`, { from: EVIL })
    expectQuestion(page)
    expect(page.body).toContain('Account: sub-alice')
    expect(page.body).not.toContain('victim@example.com')
  })

  test('an account without an address, or without any name, is called what there is', async () => {
    for (const named of [true, false]) {
      const { browser, url, provider } = await startApp({
        storage: memoryStore(),
        client: { userKey: () => 'victim', ...(named ? {} : { scopes: ['files.read'] }) },
      })
      provider.idTokenClaims = ({ email: _, ...claims }) => claims
      provider.userinfoAnswer = () => ({ status: 404, body: 'none' })
      const question = await browser.goto(`${url}/oauth2authorize`, { from: EVIL })
      expectQuestion(question)
      expect(question.body).toContain(named ? 'Account: sub-alice' : 'Account: not named by the provider')
    }
  })

  test('what an account is called cannot become anything else on the page', async () => {
    const { browser, url, provider } = await startApp({ storage: memoryStore(), client: { userKey: () => 'victim' } })
    const email = `<form action=https://evil.example>\u202e\n${'x'.repeat(1000)}`
    provider.idTokenClaims = (claims) => ({ ...claims, email })
    const page = await browser.goto(`${url}/oauth2authorize`, { from: EVIL })
    expectQuestion(page)
    expect(page.body).toContain('Account: &#60;form action=https://evil.example&#62;xxx')
    expect(page.body).not.toMatch(/\u202e|x{200}/)
  })

  test('what does not fit into a cookie is an error that says so', async () => {
    const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant
    const { browser, url, provider } = await startApp({ variant, client: { userKey: () => 'victim' } })
    provider.idTokenClaims = (claims) => ({ ...claims, groups: 'g'.repeat(4_000) })
    const page = await browser.goto(`${url}/oauth2authorize`, { from: EVIL })
    expect([page.status, page.body]).toEqual([500, expect.stringContaining('FST_OAUTH2_SESSION_TOO_LARGE')])
    expect(browser.rejectedCookies).toEqual([])
  })

  test('with routes: false, the app answers it on a route of its own, and hears of it where there is none', async () => {
    const { browser, url, logs } = await startApp({
      storage: memoryStore(),
      client: { routes: false, userKey: () => 'victim' },
      routes: (app) => {
        app.register(async (context) => {
          context.addContentTypeParser(
            'application/x-www-form-urlencoded',
            { parseAs: 'string' },
            async (_: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)),
          )
          context.get('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
          context.post('/oauth2callback/confirm', callbackRouteOptions, (request, reply) =>
            handleConfirm(request, reply),
          )
        })
      },
    })
    const page = await browser.goto(`${url}/profile`, { from: EVIL })
    expectQuestion(page)
    expect((await browser.submit(page)).json()).toMatchObject({ user: 'sub-alice' })
    expect(logs.text()).not.toContain('handleConfirm')
    const without = await startApp({ storage: memoryStore(), client: { routes: false, userKey: () => 'victim' } })
    expect(without.logs.text()).toContain('handleConfirm')
  })

  test('nothing is left in the store of those who never answer', async () => {
    const storage = memoryStore()
    const started = await start({ storage })
    const waiting = async () => {
      const keys: string[] = []
      for await (const key of storage.list('pending/')) keys.push(key)
      return keys.length
    }
    await lure(started)
    await lure(started)
    expect(await waiting()).toBe(2)
    started.clock.advance(600_000)
    await lure(started)
    expect(await waiting()).toBe(1)
  })
})
