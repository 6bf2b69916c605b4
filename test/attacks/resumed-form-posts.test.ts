/**
 * N4: a form that was posted before its person had given their permission is shown to them afterwards, and sent again by their
 * click. Nobody else may have it kept, see it, or have it sent.
 */
import type { FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  callbackRouteOptions,
  handleCallback,
  handleResume,
  type OAuth2ClientOptions,
  requireOAuth,
} from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { Browser, type HeaderOverrides, type Overrides, type Page } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'
import { openStore } from '../helpers/shared-store.js'
import { type SharedStore, serverStores, sqlite } from '../helpers/shared-stores.js'

const FORM = 'application/x-www-form-urlencoded'
const PATH = '/notes/a%20b?tag=x&tag=y%26z'
const GONE = 'FST_OAUTH2_FORM_GONE'
const MINUTE = 60_000
/** What a form of a real app is like: repeated names, line breaks, other alphabets, and a token of the app's own. */
const FIELDS: readonly (readonly [string, string])[] = [
  ['_csrf', 'token-of-the-app'],
  ['title', 'Milk & "bread" <b>'],
  ['tag', 'one'],
  ['tag', 'two'],
  ['text', 'first line\r\nsecond line ✓ +%20'],
  ['empty', ''],
]
const encode = (fields: Iterable<readonly [string, string]>) =>
  new URLSearchParams([...fields].map(([name, value]) => [name, value])).toString()

/** What the app got, as a parser for forms hands it over. */
interface Saved {
  readonly url: string
  readonly user: string | undefined
  readonly body: unknown
  readonly origin: string | undefined
}

interface Options extends Omit<TestAppOptions, 'routes'> {
  readonly scopes?: string
  readonly hook?: 'preValidation' | 'preHandler'
  readonly parse?: (text: string) => unknown
  readonly more?: (app: FastifyInstance) => void
}

async function start({ scopes, hook = 'preHandler', parse = parseForm, more, ...options }: Options = {}) {
  const saved: Saved[] = []
  const checked: string[] = []
  const clock = options.clock ?? fakeClock()
  const started = await startApp({
    ...options,
    clock,
    routes(app) {
      app.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: 1_000_000 }, (_request, body, done) =>
        done(null, parse(String(body))),
      )
      app.addContentTypeParser(/^multipart\//, { parseAs: 'string' }, (_request, body, done) => done(null, { body }))
      app.addHook('preHandler', async (request, reply) => {
        if (!request.url.startsWith('/notes/')) return
        checked.push(request.method)
        // An app's own protection, of the strictest kind.
        const { _csrf } = (request.body ?? {}) as { _csrf?: string }
        if (_csrf === 'forged') return reply.code(403).send({ code: 'APP_CSRF' })
      })
      const guarded = { [hook]: requireOAuth(scopes, { resume: true }) }
      app.route({
        method: ['POST', 'PUT'],
        url: '/notes/:id',
        ...guarded,
        handler: async (request) => {
          const { body, url, headers, oauth2 } = request
          saved.push({ url, body, user: oauth2.userId ?? undefined, origin: headers.origin })
          return { saved: saved.length }
        },
      })
      app.get('/write', (_request, reply) => reply.type('text/html').send(page(PATH, FIELDS)))
      more?.(app)
    },
  })
  const { browser, url } = started
  /** Posts the form of the app's page, as a browser does. */
  const post = async (overrides: Overrides = {}, of: Browser = browser, headers: HeaderOverrides = {}) =>
    of.submit(await of.goto(`${url}/write`), 0, overrides, { headers })
  /** Any form, as a browser would post it from a page of the app, without following what comes back. */
  const raw = (body: string, headers: HeaderOverrides = {}, path = PATH, method: 'POST' | 'PUT' = 'POST') =>
    browser.xhr(url + path, { method, body, headers: { ...NAVIGATION, origin: url, ...headers } })
  return { ...started, clock, saved, checked, post, raw }
}

const NAVIGATION: HeaderOverrides = {
  accept: 'text/html,*/*;q=0.8',
  'content-type': FORM,
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
}

const NO_FETCH_METADATA: HeaderOverrides = { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null }

const page = (action: string, fields: readonly (readonly [string, string])[]) =>
  `<form method="post" action="${action.replaceAll('&', '&amp;')}">${fields
    .map(
      ([name, value]) =>
        `<textarea name="${name}">${value.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</textarea>`,
    )
    .join('')}<button>Save</button></form>`

/** Repeated fields become arrays, as with the usual parsers. */
function parseForm(text: string): Record<string, unknown> {
  const fields: Record<string, unknown> = Object.create(null)
  for (const [name, value] of new URLSearchParams(text)) {
    const before = fields[name]
    fields[name] = before === undefined ? value : [before, value].flat()
  }
  return fields
}

const BODY = { ...parseForm(encode(FIELDS)) }

function expectShown(shown: Page, path = PATH): void {
  expect([shown.status, new URL(shown.url).pathname, shown.forms[0]?.action]).toEqual([
    200,
    '/oauth2callback/resume',
    path,
  ])
}

function expectGone(answer: Page): void {
  expect([answer.status, answer.body]).toEqual([410, expect.stringContaining(GONE)])
  expect(answer.forms).toEqual([])
  expect(answer.body).not.toContain('Milk')
}

/** Where forms can be kept with that session plugin. */
const placesOf = (variant: SessionVariant) =>
  variant.kind === 'session' ? (['session', 'store'] as const) : (['store'] as const)

/** With a look at what is kept, where that is a store. */
async function beginWith(options: Options, place: 'session' | 'store' = 'store') {
  const clock = options.clock ?? fakeClock()
  const entries = new Map<string, MemoryEntry>()
  const storage = place === 'session' ? 'session' : memoryStore({ map: entries, clock: clock.now })
  const forms = () => [...entries].filter(([key, { value }]) => key.startsWith('form/') && value !== undefined)
  return { ...(await start({ storage, clock, ...options })), entries, forms }
}

describeEachSession((variant) => {
  describe.each(placesOf(variant))('N4 with forms in the %s', (place) => {
    const begin = (options: Options = {}) => beginWith({ variant, ...options }, place)

    test('N4 a first sign-in: nothing is sent, the form is shown, and one click sends what was filled in', async () => {
      const { post, browser, url, saved, checked } = await begin()
      const shown = await post()
      expectShown(shown)
      // To the provider, back, and on: the browser posts to none of them.
      expect(shown.chain.map(({ status }) => status)).toEqual([303, 302, 303, 200])
      expect([saved, checked]).toEqual([[], ['POST']])
      const sent = await browser.submit(shown)
      expect([sent.status, sent.json()]).toEqual([200, { saved: 1 }])
      expect(saved).toEqual([{ url: PATH, user: 'sub-alice', body: BODY, origin: url }])
      // Every hook of the app saw it again.
      expect(checked).toEqual(['POST', 'POST'])
    })

    test('N4 one more scope: the same for somebody who is signed in', async () => {
      const { post, browser, url, saved } = await begin({ scopes: 'files.read' })
      await browser.goto(`${url}/profile`)
      const shown = await post()
      expectShown(shown)
      expect((await browser.submit(shown)).json()).toEqual({ saved: 1 })
      expect(saved[0]?.body).toEqual(BODY)
      // With the permission there is no detour any more.
      expect((await post({ title: 'again' })).json()).toEqual({ saved: 2 })
    })

    test('N4 the page shows every field, is nobody else’s, and loads nothing', async () => {
      const { post } = await begin()
      const shown = await post({ text: 'x'.repeat(5_000) })
      expect(shown.body).toContain('<dt>title</dt><dd>Milk &#38; &#34;bread&#34; &#60;b&#62;</dd>')
      expect(shown.body).toContain(`<dt>text</dt><dd>${'x'.repeat(5_000)}</dd>`)
      expect(shown.body.match(/<dt>/g)).toHaveLength(FIELDS.length)
      expect(shown.forms).toHaveLength(1)
      expect(shown.forms[0]).toMatchObject({ method: 'POST' })
      expect(shown.forms[0]?.fields.map(({ name, type }) => [name, type])).toEqual(
        FIELDS.map(([name]) => [name, 'hidden']),
      )
      // What it is, and what the button does, has to be clear to whoever did not expect it.
      expect(shown.body).toContain('<h1>Send this form now?</h1>')
      expect(shown.body).toContain('It was not sent yet')
      expect(shown.body).toMatch(/<button[^>]*>Send it<\/button>/)
      expect(shown.body).toContain('<a class="way" href="/">Do not send it</a>')
      // Nothing of an error page is on it, and nothing between the fields.
      expect(shown.body).not.toMatch(/<ul>|<small>/)
      expect(shown.body).toMatch(/<dl>(<dt>[^<]+<\/dt><dd>[^<]*<\/dd>){6}<\/dl><form [^>]+>(<input [^>]+>){6}<button/)
      expect(shown.body).toMatch(/<\/form><p><a [^>]+>Do not send it<\/a><\/p><\/main>/)
      expect(shown.body).not.toMatch(/<script|<img|<link|<iframe|src=|javascript:| on\w+=/i)
      expect(Object.fromEntries(shown.headers)).toMatchObject({
        'cache-control': 'no-store',
        // Without a referrer, the browser would say "Origin: null" with the form.
        'referrer-policy': 'same-origin',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
      })
      expect(shown.headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; frame-ancestors 'none'$/,
      )
    })

    test('N4 HTML in names and values stays text, on the page and in what is sent', async () => {
      const { raw, browser, saved } = await begin()
      const hostile = [
        ['"><script>alert(1)</script>', `'"></form><form action="https://evil.example"><input name=x>`],
        ['__proto__', 'polluted'],
        ['constructor', 'x'],
        ['_charset_', 'utf-8'],
        ['bidi', 'pay \u202e001\u202c \u0007'],
      ] as const
      const shown = await browser.goto((await raw(encode(hostile))).location as string)
      expectShown(shown)
      expect(shown.body).not.toMatch(/<script>|<\/form><form|evil\.example"/)
      expect(shown.forms).toHaveLength(1)
      // A direction that changes would make the text look like another one. It is sent as it is.
      expect(shown.body).toContain('<dd>pay \ufffd001\ufffd \ufffd</dd>')
      await browser.submit(shown)
      expect(Object.entries(saved[0]?.body as object)).toEqual(hostile)
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    })

    test('N4 never in a cookie: what was filled in is in none, whatever happens to it', async () => {
      const { post, browser, logs } = await begin()
      const secret = 'a-value-to-look-for'
      await browser.submit(await post({ title: secret }))
      const received = browser.received(() => true)
      const cookies = browser.log
        .flatMap(({ headers }) => headers)
        .filter(([name]) => name.toLowerCase() === 'set-cookie')
      expect(cookies.length).toBeGreaterThan(0)
      for (const [, cookie] of cookies) expect(cookie.length).toBeLessThan(4_000)
      expect(cookies.join('\n')).not.toContain(secret)
      expect(browser.log.map(({ url }) => url).join('\n')).not.toContain(secret)
      expect(logs.text()).not.toContain(secret)
      expect(received).toContain(secret)
      // A form of 60 kB leaves cookies of the same size.
      const big = await post({ title: 'y'.repeat(60_000) })
      expect(browser.cookies().every(({ value }) => value.length < 3_900)).toBe(true)
      expect(big.status).toBe(200)
    })

    describe('N4 is bound', () => {
      test('A17 to a link that has not ended: a copy of the cookies shows nothing after signing out everywhere', async () => {
        const { post, app, browser, clock } = await begin()
        const shown = await post()
        await app.oauth2.signOutEverywhere('sub-alice')
        clock.advance(2_100)
        expectGone(await browser.clone().goto(shown.url))
      })

      test('to the browser: the page is of no use in another one, also to the same person', async () => {
        const { post, browser, url, saved } = await begin()
        const shown = await post()
        const thief = new Browser()
        expectGone(await thief.goto(shown.url))
        await thief.goto(`${url}/profile`)
        expectGone(await thief.goto(shown.url))
        // And the thief has spoiled nothing.
        expectShown(await browser.goto(shown.url))
        await browser.submit(shown)
        expect(saved).toHaveLength(1)
      })

      test('A1, to the flow: one that an attacker began cannot be finished by a victim', async () => {
        const { browser: attacker, url, raw, saved } = await begin()
        const sent = await raw(encode([['title', 'Milk of the attacker']]))
        const answered = await attacker.goto(sent.location as string, { stopAt: (to) => to.href.startsWith(url) })
        const callback = answered.location as string
        expect(callback).toContain('/oauth2callback?')
        for (const victim of [new Browser(), await signedIn(url)]) {
          const page = await victim.goto(callback)
          expect([page.status, page.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
          expect(page.body).not.toContain('Milk')
        }
        expect(saved).toEqual([])
        // Nor is the attacker's own flow lost by that.
        expectShown(await attacker.goto(callback))
      })

      test('to the identity: posted by one person, finished as another, it is nobody’s any more', async () => {
        const { post, browser, url, provider, saved, forms, clock } = await begin()
        await browser.goto(`${url}/profile`)
        clock.advance(3_600_001)
        provider.tokenAnswer = ({ grant_type }) =>
          grant_type === 'refresh_token' ? { status: 400, body: { error: 'invalid_grant' } } : undefined
        provider.user = 'mallory'
        const answer = await post()
        expectGone(answer)
        expect((await browser.xhr(`${url}/`)).json().user).toBe('sub-mallory')
        expect([saved, forms()]).toEqual([[], []])
        provider.user = 'alice'
        provider.tokenAnswer = undefined
        expectGone(await browser.goto(answer.url))
      })

      test('to the identity: a grant for one person that another comes back with changes nothing', async () => {
        const { post, browser, url, provider, saved } = await begin({ scopes: 'files.read' })
        await browser.goto(`${url}/profile`)
        provider.user = 'mallory'
        const answer = await post()
        expect([answer.status, answer.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
        expect(answer.body).not.toContain('Milk')
        expect(saved).toEqual([])
      })

      test('to the identity: who signs in after the person who posted it signed out sees nothing', async () => {
        const { post, browser, url, provider, saved } = await begin({ more: signOutRoute })
        const shown = await post()
        expectShown(shown)
        await browser.xhr(`${url}/out`, { method: 'POST' })
        expectGone(await browser.goto(shown.url))
        provider.user = 'mallory'
        await browser.goto(`${url}/profile`)
        expectGone(await browser.goto(shown.url))
        expect(saved).toEqual([])
      })

      test('to the path: a form to another one ends nothing', async () => {
        const { post, browser, url } = await begin()
        const shown = await post()
        const other = { ...shown.forms[0], action: '/notes/other' }
        expect((await browser.submit({ ...shown, forms: [other] } as Page)).status).toBe(200)
        expectShown(await browser.goto(shown.url))
        expect((await browser.goto(`${url}/profile`)).status).toBe(200)
        expectShown(await browser.goto(shown.url))
      })

      test('to the path: nothing in the address of the page changes where it goes', async () => {
        const { post, browser, url } = await begin()
        const shown = await post()
        expectShown(await browser.goto(`${shown.url}&path=/evil&action=https://evil.example&return_url=//evil.example`))
        for (const form of [
          '',
          'x',
          '../../x',
          'x'.repeat(10_000),
          '%00',
          `${new URL(shown.url).searchParams.get('form')}x`,
        ]) {
          expectGone(await browser.goto(`${url}/oauth2callback/resume?form=${form}`))
        }
        expectGone(await browser.goto(`${shown.url}&form=x`))
        expectGone(await browser.goto(`${url}/oauth2callback/resume`))
      })

      test('to its time: ten minutes after it was posted it is gone', async () => {
        const { post, browser, clock } = await begin()
        const shown = await post()
        clock.advance(10 * MINUTE - 1)
        expectShown(await browser.goto(shown.url))
        clock.advance(1)
        expectGone(await browser.goto(shown.url))
      })
    })

    describe('N4 is consumed once', () => {
      test('it can be looked at until it is sent, and not afterwards', async () => {
        const { post, browser, saved, forms } = await begin()
        const shown = await post()
        expectShown(await browser.goto(shown.url))
        expect((await browser.submit(await browser.goto(shown.url))).json()).toEqual({ saved: 1 })
        expect(forms()).toEqual([])
        expectGone(await browser.goto(shown.url))
        expect(saved).toHaveLength(1)
        // Of what it took, nothing stays in the browser.
        expect(browser.cookies().filter(({ name }) => name.includes('forms.'))).toEqual([])
      })

      test('it is not ended by a request to the same address that posts nothing', async () => {
        const { post, browser, url } = await begin()
        const shown = await post()
        expectShown(shown)
        expect((await browser.xhr(url + PATH, { method: 'PUT', body: {} })).status).toBe(200)
        expectShown(await browser.goto(shown.url))
      })

      test('the callback that is opened again does not bring it back', async () => {
        const { post, browser, clock } = await begin()
        const shown = await post()
        const callback = shown.chain.find(({ url }) => url.includes('/oauth2callback?'))?.url as string
        // A double click, and a reload: to the same page.
        expectShown(await browser.goto(callback))
        await browser.submit(shown)
        expectGone(await browser.goto(callback))
        clock.advance(MINUTE)
        expectGone(await browser.goto(callback))
      })

      test('a post that an app refuses after the guard is over as well', async () => {
        const { post, browser, saved } = await begin({ hook: 'preValidation' })
        const shown = await post({ _csrf: 'forged' })
        const refused = await browser.submit(shown)
        expect([refused.status, refused.json()]).toEqual([403, { code: 'APP_CSRF' }])
        expectGone(await browser.goto(shown.url))
        expect(saved).toEqual([])
      })

      test('what the app refuses before the guard is never kept', async () => {
        const { post, forms, browser } = await begin()
        expect((await post({ _csrf: 'forged' })).json()).toEqual({ code: 'APP_CSRF' })
        expect(forms()).toEqual([])
        expect(browser.cookies().filter(({ name }) => name.includes('flow'))).toEqual([])
      })
    })

    test('N4 no loop: a scope that was declined is a 403 with a way to ask again', async () => {
      const { post, browser, provider, saved } = await begin({ scopes: 'files.read' })
      provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
      const shown = await post()
      expectShown(shown)
      for (const answer of [await browser.submit(shown), await post()]) {
        expect([answer.status, answer.chain.length]).toEqual([403, 1])
        expect(answer.body).toContain('FST_OAUTH2_SCOPE_DECLINED')
        expect(answer.body).toContain('Ask again')
        expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
      }
      expectGone(await browser.goto(shown.url))
      expect(saved).toEqual([])
      expect(provider.count('authorize')).toBe(1)
    })

    test('N4 no loop: nor where signing in has no effect', async () => {
      const { post, browser, provider } = await begin({ client: { offline: false } })
      provider.refreshTokenPolicy = 'never'
      provider.expiresIn = 0
      const shown = await post()
      const refused = await browser.submit(shown)
      expect([refused.status, refused.chain.length]).toEqual([403, 1])
      expect(refused.body).toContain('FST_OAUTH2_AUTHORIZATION_LOOP')
    })

    test('N4 a person who says no sends nothing', async () => {
      const { post, provider, saved } = await begin()
      provider.authorizeAnswer = ({ state }) => ({ error: 'access_denied', state: String(state), iss: provider.issuer })
      const answer = await post()
      expect([answer.status, answer.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
      expect(answer.body).not.toContain('Milk')
      expect(saved).toEqual([])
    })

    test('N4 a provider that is down is a page with another try', async () => {
      const { post, provider, saved } = await begin()
      provider.discoveryAnswer = () => ({ status: 503 })
      const answer = await post()
      expect([answer.status, answer.body]).toEqual([503, expect.stringContaining('Try again')])
      expect(saved).toEqual([])
    })

    test('D4 programs keep their own body, and are told when to repeat', async () => {
      const { browser, url, forms } = await begin({ scopes: 'files.read' })
      const request = { method: 'POST', body: { title: 'from a program' } }
      const before = await browser.xhr(url + PATH, request)
      expect([before.status, before.json()]).toMatchObject([
        401,
        { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', retry: 'after-authorization' },
      ])
      await browser.goto(`${url}/profile`)
      const after = await browser.xhr(url + PATH, request)
      expect([after.status, after.json()]).toMatchObject([
        403,
        { missingScopes: ['files.read'], retry: 'after-authorization' },
      ])
      await browser.goto(url + before.json().authorizeUrl)
      expect((await browser.xhr(url + PATH, request)).json()).toEqual({ saved: 1 })
      expect(forms()).toEqual([])
      // Where nobody asked for it, nothing is said of it.
      expect((await new Browser().xhr(`${url}/notes`, { method: 'POST' })).json()).not.toHaveProperty('retry')
    })

    test('D4 without resume, a form gets its status and is not kept', async () => {
      const { url, browser, forms } = await begin()
      const written = await browser.goto(`${url}/write`)
      const form = { ...written.forms[0], action: '/notes' }
      const answer = await browser.submit({ ...written, forms: [form] } as Page)
      expect([answer.status, answer.chain.length, forms()]).toEqual([401, 1, []])
    })

    test('a form whose credentials die in the handler is not kept: half of the work may be done', async () => {
      const { post, browser, provider, forms, url } = await begin({
        more: (app) =>
          app.post('/half', { preHandler: requireOAuth(undefined, { resume: true }) }, async ({ oauth2 }) => {
            const response = await oauth2.fetch(`${provider.issuer}/api/things`)
            return response.status
          }),
      })
      await browser.submit(await post())
      provider.apiAnswer = () => ({ status: 401 })
      provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
      const written = await browser.goto(`${url}/write`)
      const form = { ...written.forms[0], action: '/half' }
      const answer = await browser.submit({ ...written, forms: [form] } as Page)
      expect([answer.status, answer.chain.length, forms()]).toEqual([401, 1, []])
    })

    test('an address that is no longer there gets the app’s answer', async () => {
      const { raw, browser, saved } = await begin({
        more: (app) => {
          let there = true
          app.post('/once', { preHandler: requireOAuth(undefined, { resume: true }) }, async () => ({}))
          app.addHook('onRequest', async (request, reply) => {
            if (request.url !== '/once' || request.method !== 'POST') return undefined
            if (!there) return reply.callNotFound()
            there = false
            return undefined
          })
        },
      })
      const shown = await browser.goto((await raw(encode(FIELDS), {}, '/once')).location as string)
      expectShown(shown, '/once')
      expect((await browser.submit(shown)).status).toBe(404)
      expect(saved).toEqual([])
      // It never arrived, and can still be looked at.
      expectShown(await browser.goto(shown.url), '/once')
    })

    test('behind a proxy that strips a prefix, the form and its page have it', async () => {
      const { app, provider, saved } = await begin({ client: { baseUrl: 'http://localhost:9999/app' } })
      const { port } = app.server.address() as { port: number }
      const browser = new Browser({
        via: (to) => {
          if (to.port !== '9999') return undefined
          expect(to.pathname).toMatch(/^\/app\//)
          return { url: `http://localhost:${port}${to.pathname.slice(4)}${to.search}` }
        },
      })
      const written = await browser.goto('http://localhost:9999/app/write')
      const form = { ...written.forms[0], action: `/app${PATH}` }
      const shown = await browser.submit({ ...written, forms: [form] } as Page)
      expect([shown.url, shown.forms[0]?.action]).toEqual([
        expect.stringMatching('^http://localhost:9999/app/oauth2callback/resume'),
        `/app${PATH}`,
      ])
      expect((await browser.submit(shown)).json()).toEqual({ saved: 1 })
      expect(saved[0]?.url).toBe(PATH)
      expectGone(await browser.goto(shown.url))
      expect(provider.count('authorize')).toBe(1)
    })
  })
})

describe('N4 is kept only when a page of ours sent it', () => {
  const kept: [string, HeaderOverrides][] = [
    ['Sec-Fetch-Site: same-origin', { 'sec-fetch-site': 'same-origin', origin: null }],
    ['no Sec-Fetch-Site, but our Origin', NO_FETCH_METADATA],
    ['a type that is spelled otherwise', { 'content-type': 'Application/X-WWW-Form-Urlencoded ; charset=UTF-8' }],
  ]
  const refused: [string, HeaderOverrides][] = [
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['another host of our domain', { 'sec-fetch-site': 'same-site', origin: 'http://evil.localhost' }],
    ['nobody says where from', { 'sec-fetch-site': 'none', origin: null }],
    ['a site that lies about its Origin', { 'sec-fetch-site': 'cross-site' }],
    ['an old browser on another site', { ...NO_FETCH_METADATA, origin: 'https://evil.example' }],
    ['an old browser that hides its origin', { ...NO_FETCH_METADATA, origin: 'null' }],
    ['an old browser that says nothing', { ...NO_FETCH_METADATA, origin: null }],
    ['a referrer is no Origin', { ...NO_FETCH_METADATA, origin: null, referer: 'http://localhost/write' }],
    ['our host on another port', { ...NO_FETCH_METADATA, origin: 'http://localhost:1' }],
    ['our name on another scheme', { ...NO_FETCH_METADATA, origin: 'https://localhost' }],
  ]

  test.each(kept)('%s', async (_name, headers) => {
    const { raw } = await beginWith({})
    expect((await raw(encode(FIELDS), headers)).status).toBe(303)
  })

  test.each(refused)('not: %s', async (_name, headers) => {
    const { raw, browser, forms } = await beginWith({})
    const answer = await raw(encode(FIELDS), headers)
    expect([answer.status, answer.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    expect(forms()).toEqual([])
    // No flow begins either.
    expect(browser.cookies().filter(({ name }) => name.includes('flow'))).toEqual([])
  })

  test('a page elsewhere that submits a form by itself gets the answer of a route without resume', async () => {
    const { url, saved, forms } = await beginWith({})
    const victim = new Browser()
    const evil = { ...(await victim.goto(`${url}/write`)), url: 'https://evil.example/' }
    const form = { ...evil.forms[0], action: url + PATH }
    const answer = await victim.submit({ ...evil, forms: [form] } as Page)
    expect([answer.status, answer.chain.length, answer.json().code]).toEqual([
      401,
      1,
      'FST_OAUTH2_CREDENTIALS_REQUIRED',
    ])
    expect([saved, forms()]).toEqual([[], []])
  })
})

describe('N4 is kept only when it can be shown and sent again', () => {
  const big = (bytes: number) => encode([['text', 'x'.repeat(bytes - 'text='.length)]])
  const many = (count: number) => encode(Array.from({ length: count }, (_, i) => [`field${i}`, 'x'] as const))
  const refused: [string, string, HeaderOverrides, string?][] = [
    ['more than 64 kB', big(65_537), {}],
    ['65 kB', big(65 * 1_024), {}],
    ['64 kB only once it is encoded', encode([['text', '✓'.repeat(8_000)]]), {}],
    ['more fields than a person can look at', many(1_001), {}],
    ['a field without a name', '=x', {}],
    ['a character that no page can hold', encode([['text', 'a\0b']]), {}],
    ['a name that no page can hold', encode([['a\0b', 'x']]), {}],
    ['files', '--x\r\n\r\n--x--', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['JSON', '{"a":"b"}', { 'content-type': 'application/json' }],
    ['text', 'a=b', { 'content-type': 'text/plain' }],
    ['a form in a frame', encode(FIELDS), { 'sec-fetch-dest': 'iframe' }],
    ['a form that a script sends', encode(FIELDS), { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['a form that htmx sends', encode(FIELDS), { 'hx-request': 'true' }],
    ['an address that is too long to go back to', encode(FIELDS), {}, `/notes/1?${'x'.repeat(2_100)}`],
    ['an address that would lead elsewhere', encode(FIELDS), {}, '/notes/1?x=\\'],
  ]

  test.each(refused)('not: %s', async (_name, body, headers, path) => {
    const { raw, forms } = await beginWith({})
    const answer = await raw(body, headers, path)
    expect([answer.status, answer.location, forms()]).toEqual([401, null, []])
  })

  test('not: another method than POST', async () => {
    const { raw, forms } = await beginWith({})
    expect((await raw(encode(FIELDS), {}, PATH, 'PUT')).status).toBe(401)
    expect(forms()).toEqual([])
  })

  test.each([
    ['nested objects', { note: { title: 'x' } }],
    ['nested arrays', { note: [['x']] }],
    ['numbers', { note: 1 }],
    ['null', { note: null }],
    ['bytes', Buffer.from('a=b')],
  ])('not: a parser that makes %s of it', async (_name, body) => {
    const { raw, forms } = await beginWith({ parse: () => body })
    expect([(await raw('a=b')).status, forms()]).toEqual([401, []])
  })

  test.each([
    ['the text itself', (text: string) => text],
    ['URLSearchParams', (text: string) => new URLSearchParams(text)],
  ])('from a parser that leaves %s: in its order', async (_name, parse) => {
    const { raw, browser, saved } = await beginWith({ parse })
    const text = 'b=1&a=2&b=3&10=x&9=y'
    const shown = await browser.goto((await raw(text)).location as string)
    await browser.submit(shown)
    expect(String(saved[0]?.body)).toBe(text)
  })

  test.each([
    ['64 kB', big(65_536)],
    ['1000 fields', many(1_000)],
    ['none at all', ''],
  ])('%s', async (_name, body) => {
    const { raw, browser, saved } = await beginWith({ parse: (text) => text })
    const shown = await browser.goto((await raw(body)).location as string)
    expectShown(shown)
    await browser.submit(shown)
    expect(saved[0]?.body === body || (body === '' && saved.length === 1)).toBe(true)
  })

  test('in preValidation too, where a schema has changed nothing yet', async () => {
    const { post, browser, saved } = await beginWith({ hook: 'preValidation' })
    await browser.submit(await post())
    expect(saved[0]?.body).toEqual(BODY)
  })
})

async function signedIn(url: string): Promise<Browser> {
  const browser = new Browser()
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  return browser
}

function signOutRoute(app: FastifyInstance): void {
  app.post('/out', async ({ oauth2 }, reply) => {
    await oauth2.load()
    await oauth2.signOut()
    return reply.send({})
  })
}

describe('N4 with users of the app', () => {
  const as = (user: string): HeaderOverrides => ({ 'x-user': user })
  const users = (client: Partial<OAuth2ClientOptions> = {}): Options => ({
    client: { userKey: ({ headers }) => headers['x-user'] as string | undefined, ...client },
  })

  async function posted(client: Partial<OAuth2ClientOptions> = {}, user = 'ann') {
    const started = await beginWith(users(client))
    const written = await started.browser.goto(`${started.url}/write`)
    const post = (headers: HeaderOverrides = as(user)) => started.browser.submit(written, 0, {}, { headers })
    return { ...started, post }
  }

  test('it comes back to the user who posted it, and to no other in the same session', async () => {
    const { post, browser, saved, forms } = await posted()
    const shown = await post()
    expectShown(shown)
    expectGone(await browser.goto(shown.url))
    expectShown(await browser.goto(shown.url, { headers: as('ann') }))
    expectGone(await browser.goto(shown.url, { headers: as('bob') }))
    // What somebody else asked for is nobody's any more.
    expectGone(await browser.goto(shown.url, { headers: as('ann') }))
    expect([saved, forms()]).toEqual([[], []])
  })

  test('N9 a flow that is finished as another user shows nothing', async () => {
    const { browser, url, raw, saved } = await posted()
    const sent = await raw(encode(FIELDS), as('ann'))
    const answer = await browser.goto(sent.location as string, { headers: as('bob') })
    expect([answer.status, answer.body]).toEqual([403, expect.not.stringContaining('Milk')])
    expect(answer.url.startsWith(`${url}/oauth2callback`)).toBe(true)
    expect(saved).toEqual([])
  })

  test('the same user in a browser without any session sees nothing', async () => {
    const { post, browser } = await posted()
    const shown = await post()
    expectGone(await new Browser().goto(shown.url, { headers: as('ann') }))
    expectShown(await browser.goto(shown.url, { headers: as('ann') }))
  })

  test('what the app throws while it finds its user is the app’s, and no cache keeps it', async () => {
    let broken = false
    const { post, browser } = await posted({
      userKey: ({ headers }) => {
        if (broken) throw new Error('the database of users is down')
        return headers['x-user'] as string | undefined
      },
    })
    const shown = await post()
    broken = true
    const page = await browser.goto(shown.url, { headers: as('ann') })
    expect([page.status, page.json().message]).toEqual([500, 'the database of users is down'])
    expect(page.headers.get('cache-control')).toBe('no-store')
  })

  test('a person who is not signed in to the app does that first: there is nobody to keep it for', async () => {
    const { post, forms } = await posted({ loginPath: '/login' })
    const answer = await post({})
    expect([answer.status, answer.json().code, forms()]).toEqual([401, 'FST_OAUTH2_USER_REQUIRED', []])
  })

  test('a sign-in that finds the user: the first one is allowed', async () => {
    let user: string | undefined
    const { post, browser, saved } = await posted({
      userKey: () => user,
      resolveUser: (_request, { claims }) => `user of ${claims?.sub}`,
      onAuthorized: (_request, authorized) => {
        user = authorized.user
      },
    })
    const shown = await post({})
    expectShown(shown)
    user = 'somebody else'
    expectGone(await browser.goto(shown.url))
    expect(saved).toEqual([])
  })

  test('N3 the account is confirmed first, where another site began it, and the form follows', async () => {
    const { url, browser, saved } = await posted({ loginPath: '/write' })
    // Another site leads to the app, and the person signs in there and goes on.
    const written = await browser.goto(`${url}/profile`, { from: 'https://evil.example/' })
    const question = await browser.submit(written, 0, {}, { headers: as('ann') })
    expect(question.body).toContain('FST_OAUTH2_CONFIRMATION_REQUIRED')
    const shown = await browser.submit(question, 0, {}, { headers: as('ann') })
    expectShown(shown)
    await browser.submit(shown, 0, {}, { headers: as('ann') })
    expect(saved).toHaveLength(1)
  })
})

test('N4 the form follows where consent has to be asked for again', async () => {
  const { post, browser, provider, saved } = await beginWith({ client: { offline: 'required' } })
  provider.refreshTokenPolicy = 'first'
  const other = new Browser()
  // The first consent of this person was long ago: this time there is no refresh token.
  await post({}, other)
  const shown = await post()
  expectShown(shown)
  expect(shown.chain.length).toBeGreaterThanOrEqual(4)
  await browser.submit(shown)
  expect(saved).toHaveLength(1)
})

describe('N4 what is kept', () => {
  test('is sealed, and opens nowhere else', async () => {
    const { raw, browser, forms, entries } = await beginWith({})
    const first = await raw(encode([['title', 'of the first form']]))
    const second = await raw(encode([['title', 'of the second form']]))
    expect(forms()).toHaveLength(2)
    expect(JSON.stringify(forms())).not.toMatch(/of the|title|notes/)
    // Whoever can write to the store cannot put one form in the place of another.
    const [[one, entry], [two]] = forms() as [[string, MemoryEntry], [string, MemoryEntry]]
    entries.set(two, { ...(entries.get(two) as MemoryEntry), value: entry.value })
    const shown = await browser.goto(first.location as string)
    expectShown(shown)
    expect(one).toContain(new URL(shown.url).searchParams.get('form'))
    expectGone(await browser.goto(second.location as string))
  })

  test('is shown to nobody before its flow is over, though its name and the browser are right', async () => {
    const { raw, browser, url, forms } = await beginWith({})
    await browser.goto(`${url}/write`)
    const sent = await raw(encode(FIELDS))
    const [[key]] = forms() as [[string, MemoryEntry]]
    const address = `${url}/oauth2callback/resume?form=${key.split('/').at(-1)}`
    expectGone(await browser.goto(address))
    // Another flow of the same browser is not its flow.
    await browser.goto(`${url}/profile`)
    expectGone(await browser.goto(address))
    await browser.goto(sent.location as string)
    expectShown(await browser.goto(address))
  })

  test('nobody has the store asked for keys of their own making', async () => {
    const inner = memoryStore()
    const asked: string[] = []
    const get = (key: string) => {
      asked.push(key)
      return inner.get(key)
    }
    const { post, browser, url } = await start({ storage: { ...inner, get } })
    const shown = await post()
    const id = new URL(shown.url).searchParams.get('form') as string
    asked.length = 0
    for (const name of [`../${id}`, `x${id}`, `${id}x`, `${id}/..`, id.slice(1), 'x', '']) {
      const page = await browser.goto(`${url}/oauth2callback/resume?form=${encodeURIComponent(name)}`)
      expectGone(page)
      expect(page.headers.get('content-type')).toMatch(/^text\/html/)
      const toProgram = await browser.xhr(`${url}/oauth2callback/resume?form=${encodeURIComponent(name)}`)
      expect([toProgram.status, toProgram.headers.get('referrer-policy')]).toEqual([410, 'no-referrer'])
    }
    expect(asked.filter((key) => key.startsWith('form/'))).toEqual([])
    expectShown(await browser.goto(shown.url))
    expect(asked.filter((key) => key.startsWith('form/'))).toHaveLength(1)
  })

  test('two that are open at the same time end one by one', async () => {
    const { raw, browser, forms, saved } = await beginWith({})
    const paths = ['/notes/first', '/notes/second']
    const sent: Page[] = []
    for (const path of paths) sent.push(await raw('a=b', {}, path))
    const open: Page[] = []
    for (const { location } of sent) open.push(await browser.goto(location as string))
    for (const [index, shown] of open.entries()) expectShown(shown, paths[index])
    for (const [index, shown] of open.entries()) {
      expect((await browser.submit(shown)).json()).toEqual({ saved: index + 1 })
      expect(forms()).toHaveLength(1 - index)
      expectGone(await browser.goto(shown.url))
    }
    expect(saved).toHaveLength(2)
    expect(browser.cookies().filter(({ name }) => name.includes('forms.'))).toEqual([])
  })

  test('a form that was sent leaves room for one more of the same person', async () => {
    const { raw, browser, url } = await beginWith({
      scopes: 'files.read',
      more: (app) =>
        app.post('/events', { preHandler: requireOAuth('calendar.read', { resume: true }) }, async () => ({})),
    })
    await browser.goto(`${url}/profile`)
    const shown = await browser.goto((await raw('a=b', {}, '/events')).location as string)
    expectShown(shown, '/events')
    expect((await browser.submit(shown)).status).toBe(200)
    for (let count = 1; count <= 20; count += 1) expect([count, (await raw('a=b')).status]).toEqual([count, 303])
    expect((await raw('a=b')).status).toBe(403)
  })

  test('goes after ten minutes, when this process comes by, and otherwise when the store is swept', async () => {
    const { app, raw, clock, forms } = await beginWith({})
    await raw(encode(FIELDS))
    clock.advance(10 * MINUTE)
    expect(forms()).toHaveLength(1)
    await raw(encode(FIELDS))
    await expect.poll(() => forms().length).toBe(1)
    clock.advance(11 * MINUTE)
    await app.oauth2.sweep()
    expect(forms()).toHaveLength(1)
    clock.advance(1)
    await app.oauth2.sweep()
    expect(forms()).toEqual([])
  })

  test('M1 is not endless: a thousand of a process, and then forms get the answer that they get without it', async () => {
    const { app, url, forms, clock, logs } = await beginWith({})
    const headers = { ...NAVIGATION, host: new URL(url).host, 'sec-fetch-site': 'same-origin' } as Record<
      string,
      string
    >
    const post = () => app.inject({ method: 'POST', url: PATH, headers, payload: 'a=b' })
    for (let count = 0; count < 1_000; count += 1) {
      const { statusCode } = await post()
      if (statusCode !== 303) expect.unreachable(`${count}: ${statusCode}`)
    }
    expect((await post()).statusCode).toBe(401)
    expect(forms()).toHaveLength(1_000)
    expect(logs.text()).toContain('a form was not kept')
    clock.advance(10 * MINUTE)
    expect((await post()).statusCode).toBe(303)
    await expect.poll(() => forms().length).toBe(1)
  })

  test('M1 twenty of one person, and the log says once that one more was not kept', async () => {
    const { url, raw, browser, logs, forms } = await beginWith({ scopes: 'files.read' })
    await browser.goto(`${url}/profile`)
    const warnings = () => logs.lines.map((line) => JSON.parse(line)).filter(({ level }) => level >= 40)
    for (let count = 0; count < 20; count += 1) expect((await raw('a=b')).status).toBe(303)
    expect(warnings()).toEqual([])
    expect([(await raw('a=b')).status, forms().length]).toEqual([403, 20])
    expect(warnings()).toEqual([
      expect.objectContaining({ client: 'oauth2', msg: 'a form was not kept: too many of them are' }),
    ])
  })

  test('M1 strangers who send a thousand take it from nobody who was here before, and no person takes it from others', async () => {
    const { app, url, forms, post, provider } = await beginWith({ scopes: 'files.read' })
    const headers = { ...NAVIGATION, host: new URL(url).host, 'sec-fetch-site': 'same-origin' } as Record<
      string,
      string
    >
    const stranger = () => app.inject({ method: 'POST', url: PATH, headers, payload: 'a=b' })
    for (let count = 0; count < 1_000; count += 1) await stranger()
    expect([(await stranger()).statusCode, forms().length]).toEqual([401, 1_000])
    const [person, visitor, other] = [await signedIn(url), new Browser(), new Browser()]
    for (const browser of [visitor, other]) await browser.step(`${url}/oauth2authorize`)
    // Each of them has 20.
    for (const browser of [person, visitor]) {
      const send = () =>
        browser.xhr(url + PATH, { method: 'POST', body: 'a=b', headers: { ...NAVIGATION, origin: url } })
      for (let count = 0; count < 20; count += 1) expect((await send()).status).toBe(303)
      expect((await send()).status).toBe(browser === person ? 403 : 401)
    }
    expect(forms()).toHaveLength(1_040)
    expectShown(await post({}, other))
    provider.user = 'bob'
    expectShown(await post({}, await signedIn(url)))
  }, 60_000)

  test('cannot be kept while the store is down: a page that says so', async () => {
    const storage = breakableStore(memoryStore())
    const { post, browser, saved } = await start({ storage })
    storage.failing = 'put'
    const answer = await post()
    expect([answer.status, answer.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_STORE_UNAVAILABLE')])
    storage.failing = false
    const shown = await post()
    storage.failing = 'delete'
    // What cannot be ended now ends with its time: no reason not to take the form.
    expect((await browser.submit(shown)).json()).toEqual({ saved: 1 })
    storage.failing = true
    expect((await browser.goto(shown.url)).status).toBe(503)
    expect(saved).toHaveLength(1)
  })
})

describe('a mistake in the set-up says what to write', () => {
  const text = 'Put the guard into preValidation or preHandler: there is no body before.'

  test('a guard in onRequest, where there is no body: when the route is declared', async () => {
    for (const onRequest of [requireOAuth('a', { resume: true }), [requireOAuth('a', { resume: true })]]) {
      let error: unknown
      await startApp({
        routes: (app) => {
          app.register(async (child) => {
            try {
              child.post('/early', { onRequest }, async () => ({}))
            } catch (thrown) {
              error = thrown
            }
          })
        },
      })
      expect(error).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(text) })
    }
  })

  test('a guard in onRequest of everything: with the first form', async () => {
    const { raw, browser, url, saved } = await beginWith({
      more: (app) => app.addHook('onRequest', requireOAuth(undefined, { resume: true })),
    })
    const answer = await raw(encode(FIELDS))
    expect([answer.status, answer.json().message]).toEqual([
      500,
      `Option "requireOAuth({ resume })": found no body. ${text}`,
    ])
    // Pages know nothing of it.
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    expect(saved).toEqual([])
  })

  test('a session in a cookie, and no store: with the first form, whoever posts it', async () => {
    const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant
    const { post, browser, url, saved } = await start({ variant, storage: 'session' })
    for (const answer of [await post(), await signedIn(url).then((other) => post({}, other))]) {
      expect([answer.status, answer.json()]).toMatchObject([
        500,
        {
          code: 'FST_OAUTH2_OPTION_INVALID',
          message: expect.stringMatching(/^Option "requireOAuth\(\{ resume \}\)": .*Set the option "storage"/),
        },
      ])
    }
    expect(browser.cookies().every(({ value }) => value.length < 1_000)).toBe(true)
    expect(saved).toEqual([])
  })

  test('routes: false, and nobody shows the form', async () => {
    const routes = (app: FastifyInstance) => {
      app.get('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
    }
    const without = await beginWith({ client: { routes: false }, more: routes })
    const answer = await without.raw(encode(FIELDS))
    expect([answer.status, answer.json().message]).toEqual([
      500,
      'Option "requireOAuth({ resume })": needs a route GET /oauth2callback/resume that calls handleResume(request, reply).',
    ])
    const { post, browser, saved } = await beginWith({
      client: { routes: false },
      more: (app) => {
        routes(app)
        app.get('/oauth2callback/resume', callbackRouteOptions, (request, reply) => handleResume(request, reply))
        // A guard over everything does not close the way that leads through it.
        app.addHook('preHandler', async (request, reply) =>
          request.method === 'GET' && request.url !== '/write' ? requireOAuth()(request, reply) : undefined,
        )
      },
    })
    const shown = await post()
    expectShown(shown)
    expectGone(await new Browser().goto(shown.url))
    await browser.submit(shown)
    expect(saved).toHaveLength(1)
  })

  test('routes: false, and nobody shows the form of a client that has a name', async () => {
    const { raw } = await beginWith({
      client: { name: 'github', routes: false },
      more: (app) => {
        app.post(
          '/named',
          { preHandler: requireOAuth(undefined, { resume: true, client: 'github' }) },
          async () => ({}),
        )
      },
    })
    const answer = await raw(encode(FIELDS), {}, '/named')
    expect([answer.status, answer.json().message]).toEqual([
      500,
      expect.stringMatching(
        /needs a route GET \/oauth2callback\/github\/resume that calls handleResume\(request, reply, \{ client: 'github' \}\)\.$/,
      ),
    ])
  })

  test('an option that is not one', () => {
    for (const options of [{ resume: 'yes' }, { resumed: true }]) {
      expect(() => requireOAuth('a', options as object)).toThrow(
        expect.objectContaining({ code: 'FST_OAUTH2_OPTION_INVALID' }),
      )
    }
  })

  test('only GET shows a form', async () => {
    const { browser, url } = await beginWith({})
    const answer = await browser.xhr(`${url}/oauth2callback/resume?form=x`, { method: 'POST' })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET'])
  })
})

describe('N4 two processes', async () => {
  for (const kind of [sqlite, ...(await serverStores()).filter(({ name }) => name === 'PostgreSQL')])
    inTwoProcesses(kind)
})

/** Two apps with stores of their own on one database, behind one address: each request goes to the other one. */
function inTwoProcesses({ name, describe, create }: SharedStore): void {
  describe(name, () => {
    test.each(sessionVariants)('post, come back, look and send at another one each time: $name', async (variant) => {
      const { task, cleanup } = await create()
      const opened = [await openStore(task), await openStore(task)]
      await opened[0]?.prepare()
      onTestFinished(async () => {
        await opened[0]?.remove()
        for (const { close } of opened) await close()
        await cleanup()
      })
      const sessions = new SlowSessionStore(0)
      const shared: SessionVariant = { ...variant, register: (app) => variant.register(app, { store: sessions }) }
      const origin = 'http://localhost:9999'
      const client = { baseUrl: origin, encryptionKeys: 'a key that is random enough, and long enough too' }
      const one = await start({ variant: shared, storage: opened[0]?.store as never, client })
      const { provider, clock } = one
      const two = await start({ variant: shared, storage: opened[1]?.store as never, client, provider, clock })
      let turn = 0
      const browser = new Browser({
        via: (to) => {
          if (to.origin !== origin) return undefined
          turn += 1
          return { url: `${[one, two][turn % 2]?.url}${to.pathname}${to.search}` }
        },
      })
      const shown = await browser.submit(await browser.goto(`${origin}/write`))
      expectShown(shown)
      expect((await browser.submit(shown)).json()).toEqual({ saved: 1 })
      expect([...one.saved, ...two.saved].map(({ body }) => body)).toEqual([BODY])
      // Both know that it was sent.
      expectGone(await browser.goto(shown.url))
      expectGone(await browser.goto(shown.url))
    })
  })
}
