/** What goes beyond state, PKCE and nonce: pushed and signed requests, signed and posted answers, a key in the place of a secret. */
import { createServer } from 'node:http'
import { parse } from 'node:querystring'
import type { FastifyInstance } from 'fastify'
import { createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, jwtVerify, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  type CredentialStore,
  callbackRouteOptions,
  handleCallback,
  type OAuth2ClientOptions,
  type ResponseMode,
} from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { createCredentialTables, sqlStore } from '../../src/storage/sql.js'
import { openSqlite } from '../../src/storage/sqlite.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

const KEY = 'a key of all the processes of this app'
const STATE_INVALID = [400, 'FST_OAUTH2_STATE_INVALID']
const { privateKey, publicKey } = await generateKeyPair('PS256', { extractable: true })
const clientKey = { ...(await exportJWK(privateKey)), alg: 'PS256', kid: 'key-1' }
const clientKeys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), alg: 'PS256', kid: 'key-1' }] })

async function publicProvider(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider({ clientSecret: null })
  onTestFinished(() => provider.close())
  return provider
}

/** Another site than the provider's, as far as browsers are concerned. */
async function start(client: Partial<OAuth2ClientOptions>, options: TestAppOptions = {}): Promise<TestApp> {
  const app = await startApp({ client, ...options })
  app.provider.metadata = (metadata) => ({ ...metadata, authorization_signing_alg_values_supported: ['RS256', 'none'] })
  return { ...app, url: app.url.replace('localhost', '127.0.0.1') }
}

/** As `@fastify/formbody` does. */
function parseForms(app: FastifyInstance, parser: (text: string) => unknown = parse): void {
  const type = 'application/x-www-form-urlencoded'
  app.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => done(null, parser(String(body))))
}

const tokenRequests = ({ provider }: TestApp) => provider.count('token')

async function expectUntouched(app: TestApp, callback: Page): Promise<void> {
  expect(answer(callback)).toEqual(STATE_INVALID)
  expect(callback.headers.get('cache-control')).toBe('no-store')
  expect(tokenRequests(app)).toBe(0)
  expect(flowCookies(app.browser, '127.0.0.1')).toHaveLength(1)
}

describe('B9: an answer that comes another way than it was asked for is no answer', () => {
  const modes: ResponseMode[] = ['query', 'form_post', 'query.jwt', 'form_post.jwt', 'jwt']
  const asParams: Record<string, (app: TestApp, params: Record<string, string>) => Promise<Record<string, string>>> = {
    plain: async (_app, params) => params,
    signed: async ({ provider }, params) => ({ response: await provider.signAnswer(params) }),
  }
  for (const mode of modes) {
    test(`${mode}: of all four, only one`, async () => {
      const app = await start({ responseMode: mode })
      const outcomes: Record<string, string> = {}
      for (const method of ['GET', 'POST'] as const) {
        for (const [kind, make] of Object.entries(asParams)) {
          const browser = new Browser()
          let sent: Record<string, string> = {}
          app.provider.authorizeAnswer = (_params, defaults) => {
            sent = defaults()
            return undefined
          }
          const page = await browser.goto(`${app.url}/oauth2authorize`, {
            stopAt: ({ pathname }) => pathname.includes('callback'),
          })
          expect(page.url).toContain(app.provider.issuer)
          const params = new URLSearchParams(await make(app, sent))
          const answered =
            method === 'GET'
              ? await browser.goto(`${app.url}/oauth2callback?${params}`, { from: app.provider.issuer })
              : await post(browser, app, params)
          outcomes[`${method} ${kind}`] = answered.url === `${app.url}/` ? 'done' : String(answered.status)
        }
      }
      const expected = `${mode.startsWith('form_post') ? 'POST' : 'GET'} ${mode.endsWith('jwt') ? 'signed' : 'plain'}`
      expect(Object.keys(outcomes).filter((way) => outcomes[way] === 'done')).toEqual([expected])
      // A form is not even read where none is expected.
      const refused = mode.startsWith('form_post') ? '400' : '405'
      expect([
        ...new Set(
          Object.entries(outcomes)
            .filter(([way]) => way !== expected && way.startsWith('POST'))
            .map(([, status]) => status),
        ),
      ]).toEqual([refused])
      expect(tokenRequests(app)).toBe(1)
    })
  }

  test('both at once are none, and an ID token or access token beside the code is refused too', async () => {
    const app = await start({ responseMode: 'jwt' })
    const { callback } = await begin(app)
    const plain = { code: 'stolen', state: 'x'.repeat(43) }
    for (const params of [plain, { code: 'stolen' }, { state: plain.state }, { error: 'access_denied' }]) {
      await expectUntouched(app, await back(app, altered(callback, params)))
    }
    const twice = new URL(callback)
    twice.searchParams.append('response', twice.searchParams.get('response') as string)
    await expectUntouched(app, await back(app, twice.href))
    expect(answer(await back(app, callback))[0]).toBe(303)
  })

  test('a refusal that nobody signed does not end a flow that is to be answered with a signature', async () => {
    const app = await start({ responseMode: 'jwt' })
    const { callback, asked } = await begin(app)
    const refusal = { response: null, state: asked.get('state'), iss: app.provider.issuer, error: 'access_denied' }
    await expectUntouched(app, await back(app, altered(callback, refusal)))
    const done = await back(app, callback)
    expect(done.status).toBe(303)
    // No answer waited in a cookie, so none is taken out.
    expect(ourCookies(done).filter((cookie) => cookie.includes('answer.'))).toEqual([])
  })

  test('what is in a JWT is judged as it would be in plain', async () => {
    for (const extra of [{ id_token: 'x' }, { access_token: 'x' }, { code: '' }]) {
      const app = await start({ responseMode: 'jwt' })
      app.provider.authorizeAnswer = (_params, defaults) => ({ ...defaults(), ...extra })
      await expectUntouched(app, await back(app, (await begin(app)).callback))
    }
  })

  const hour = 3_600
  const forged: [
    string,
    (provider: ScriptedProvider, params: Record<string, string>, now: number) => Promise<string>,
  ][] = [
    [
      'without a signature',
      async (p, params, now) =>
        new UnsecuredJWT({ ...params, iss: p.issuer, aud: p.clientId, exp: now + hour }).encode(),
    ],
    ['for another client', (p, params) => p.signAnswer(params, { aud: 'somebody-else' })],
    ['for nobody', (p, params) => p.signAnswer(params, { aud: undefined })],
    ['of another issuer', (p, params) => p.signAnswer(params, { iss: 'https://evil.example' })],
    ['of no issuer', (p, params) => p.signAnswer(params, { iss: undefined })],
    ['that has expired', (p, params, now) => p.signAnswer(params, { exp: now - 61 })],
    ['that never expires', (p, params) => p.signAnswer(params, { exp: undefined })],
    ['not valid yet', (p, params, now) => p.signAnswer(params, { nbf: now + hour })],
    ['of another kind', (p, params) => p.signAnswer(params, {}, { typ: 'at+jwt' })],
    ['of a key that nobody knows', (p, params) => p.signAnswer(params, {}, { kid: 'unknown' })],
    [
      'signed by somebody else under a known name',
      async (p, params, now) => {
        const { kid = '' } = JSON.parse(Buffer.from((await p.sign({})).split('.')[0] as string, 'base64url').toString())
        const other = await generateKeyPair('RS256')
        const claims = { ...params, iss: p.issuer, aud: p.clientId, exp: now + hour }
        return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(other.privateKey)
      },
    ],
    [
      'with HS256 and the client secret',
      async (p, params, now) =>
        new SignJWT({ ...params, iss: p.issuer, aud: p.clientId, exp: now + hour })
          .setProtectedHeader({ alg: 'HS256' })
          .sign(new TextEncoder().encode(p.clientSecret as string)),
    ],
    [
      'with other claims than were signed',
      async (p, params) => {
        const [header, , signature] = (await p.signAnswer({ ...params, code: 'another' })).split('.')
        const payload = Buffer.from(JSON.stringify(decodeJwt(await p.signAnswer(params)))).toString('base64url')
        return [header, payload, signature].join('.')
      },
    ],
    ['that is none', async () => 'a.b.c'],
    ['that is empty', async () => ''],
    ['of 20 kB', async () => 'x'.repeat(12_000)],
  ]
  test.each(forged)('JARM: an answer %s is refused, and the real one still works', async (_name, forge) => {
    const app = await start({ responseMode: 'jwt' })
    let params: Record<string, string> = {}
    app.provider.authorizeAnswer = (_params, defaults) => {
      params = defaults()
      return undefined
    }
    const { callback } = await begin(app)
    const response = await forge(app.provider, params, Math.floor(app.clock.now() / 1000))
    await expectUntouched(app, await back(app, altered(callback, { response })))
    expect(answer(await back(app, callback))[0]).toBe(303)
    expect(tokenRequests(app)).toBe(1)
  })

  test('JARM: keys that cannot be fetched are a 503, and the flow stays', async () => {
    const app = await start({ responseMode: 'jwt' })
    const { callback } = await begin(app)
    app.provider.jwksAnswer = () => ({ status: 500 })
    expect(answer(await back(app, callback))).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
    app.provider.jwksAnswer = undefined
    app.clock.advance(31_000)
    expect(answer(await back(app, callback))[0]).toBe(303)
  })

  test.each<ResponseMode>(['jwt', 'form_post.jwt'])(
    'M2 %s: answers of strangers make us ask a provider nothing while nobody knows its metadata',
    async (responseMode) => {
      const asked: string[] = []
      let missing = true
      const app = await start({
        responseMode,
        fetch: async (input, init) => {
          asked.push(String(input))
          return missing ? new Response('', { status: 404 }) : fetch(input, init)
        },
      })
      const posted = responseMode.startsWith('form_post')
      const wellFormed = await app.provider.signAnswer({ state: 'x'.repeat(43), code: 'y' })
      for (const response of ['x', 'a.b.c', '', wellFormed]) {
        for (const cookie of ['', 'oauth2client.flow.zzzzzzzz.aaaaaaaaaaaa=made-up']) {
          const params = new URLSearchParams({ response })
          const url = '/oauth2callback'
          const refused = posted
            ? await app.app.inject({ method: 'POST', url, headers: { ...form(), cookie }, payload: `${params}` })
            : await app.app.inject({ url: `${url}?${params}`, headers: { cookie } })
          expect([refused.statusCode, refused.json().code]).toEqual(STATE_INVALID)
        }
      }
      expect(asked).toEqual([])
      missing = false
      const page = await app.browser.goto(`${app.url}/profile`)
      expect((posted ? await app.browser.submit(page) : page).url).toBe(`${app.url}/profile`)
    },
  )

  test('A4 JARM: an answer is good in a process that asked the provider nothing so far, and leads back when it comes again', async () => {
    const provider = await startScriptedProvider()
    onTestFinished(() => provider.close())
    const sessions = new SlowSessionStore()
    const [usual] = sessionVariants as [SessionVariant]
    const variant = { ...usual, register: (server: FastifyInstance) => usual.register(server, { store: sessions }) }
    const client = { responseMode: 'jwt', encryptionKeys: KEY, baseUrl: 'http://127.0.0.1:1' } as const
    const storage = memoryStore()
    const first = await start(client, { provider, variant, storage })
    const second = await start(client, { provider, variant, storage })
    const { callback } = await begin(first)
    const { pathname, search } = new URL(callback)
    for (const _time of ['at once', 'after a reload']) {
      const page = await back(second, second.url + pathname + search, { browser: first.browser })
      expect([page.status, page.location]).toEqual([303, expect.stringMatching(/\/$/)])
    }
    expect(provider.count('token')).toBe(1)
  })

  test('JARM: a refusal is signed too', async () => {
    const app = await start({ responseMode: 'jwt' })
    app.provider.authorizeAnswer = (_params, defaults) => {
      const { state = '' } = defaults()
      return { state, error: 'access_denied' }
    }
    expect(answer(await back(app, (await begin(app)).callback))).toEqual([403, 'FST_OAUTH2_ACCESS_DENIED'])
  })
})

/** A form on a page of the provider's, or of whoever it is. */
async function post(
  browser: Browser,
  { url }: Pick<TestApp, 'url'>,
  params: URLSearchParams,
  { from = 'http://localhost:1', path = '/oauth2callback', follow = true } = {},
): Promise<Page> {
  const inputs = [...params].map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
  const html = `<form method="post" action="${url}${path}">${inputs.join('')}<button>Go</button></form>`
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(html)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  try {
    const { port } = server.address() as { port: number }
    const page = await browser.goto(`http://${new URL(from).hostname}:${port}/`)
    return await browser.submit(page, 0, {}, follow ? {} : { stopAt: () => true })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

describe('F2: an answer in a form', () => {
  describeEachSession((variant) => {
    test.each<ResponseMode>(['form_post', 'form_post.jwt'])(
      '%s: signs in, with the session left out of the post',
      async (responseMode) => {
        const app = await start({ responseMode }, { variant })
        const { browser, url, provider, logs } = app
        const form = await browser.goto(`${url}/files?a=1`)
        expect(new URL(form.url).origin).toBe(provider.issuer)
        const page = await browser.submit(form)
        expect([page.status, page.url]).toEqual([200, `${url}/files?a=1`])
        expect(page.json()).toMatchObject({ scopes: ['openid', 'email', 'files.read'] })
        const posted = browser.log.find(({ method }) => method === 'POST')
        const landed = browser.log.find(({ url: at }) => at.includes('oauth2callback?flow='))
        expect(posted?.requestHeaders['sec-fetch-site']).toBe('cross-site')
        expect(posted?.requestHeaders.cookie).not.toContain(`${variant.cookieName}=`)
        expect(landed?.requestHeaders.cookie).toContain(`${variant.cookieName}=`)
        // Nothing of it is where others could read it, or left over.
        const told =
          browser.log
            .map(({ url: at }) => at)
            .filter((at) => at.startsWith(url))
            .join('\n') + logs.text()
        for (const secret of provider.secrets()) expect(told).not.toContain(secret)
        expect(browser.cookies('127.0.0.1').filter(({ name }) => /flow\.|answer\./.test(name))).toEqual([])
      },
    )

    test('A4, A5: a form that is sent again leads to where the first one did, with one token request', async () => {
      const app = await start({ responseMode: 'form_post' }, { variant })
      const form = await app.browser.goto(`${app.url}/profile`)
      const pages = await Promise.all([app.browser.submit(form), app.browser.submit(form)])
      expect(pages.map(({ url }) => url)).toEqual([`${app.url}/profile`, `${app.url}/profile`])
      expect((await app.browser.submit(form)).url).toBe(`${app.url}/profile`)
      const landed = app.browser.log.find(({ url }) => url.includes('callback?flow='))?.url as string
      expect((await app.browser.goto(landed)).url).toBe(`${app.url}/profile`)
      expect(tokenRequests(app)).toBe(1)
    })

    test.each<ResponseMode>(['query', 'form_post', 'form_post.jwt'])(
      'A14 %s: what a store could not take is taken when the page is loaded again',
      async (responseMode) => {
        const storage = breakableStore({ ...memoryStore(), shared: true })
        const app = await start({ responseMode, encryptionKeys: KEY }, { variant, storage })
        const landed = ({ pathname }: URL) => pathname === '/oauth2callback'
        const page = await app.browser.goto(`${app.url}/profile`, { stopAt: landed })
        const sent = page.location ? page : await app.browser.submit(page, 0, {}, { stopAt: landed })
        const again = () => app.browser.goto(sent.location as string, { from: app.provider.issuer })
        storage.failing = true
        expect(answer(await again())).toEqual([503, 'FST_OAUTH2_STORE_UNAVAILABLE'])
        storage.failing = false
        expect((await again()).url).toBe(`${app.url}/profile`)
        expect(tokenRequests(app)).toBe(1)
        expect(app.browser.cookies('127.0.0.1').filter(({ name }) => /flow\.|answer\./.test(name))).toEqual([])
      },
    )

    test('A1, A2: a form from another site with an answer of somebody else’s flow is refused, and costs nothing', async () => {
      const app = await start({ responseMode: 'form_post' }, { variant })
      const mallory = new Browser()
      const stolen = await mallory.goto(`${app.url}/oauth2authorize`)
      const params = new URLSearchParams(
        stolen.forms[0]?.fields.map(({ name, value }) => [name, value] as [string, string]),
      )
      const own = await app.browser.goto(`${app.url}/profile`)
      for (const victim of [new Browser(), app.browser]) {
        const page = await post(victim, app, params, { from: 'http://localhost' })
        expect(answer(page)).toEqual(STATE_INVALID)
        expect(victim.cookies('127.0.0.1').filter(({ name }) => name.includes('answer.'))).toEqual([])
      }
      expect(tokenRequests(app)).toBe(0)
      expect((await app.browser.submit(own)).status).toBe(200)
      // Its own browser, meanwhile, has a flow that is still good for one.
      expect((await mallory.submit(stolen)).url).toBe(`${app.url}/`)
    })

    test('whatever another site has the browser post, the person stays signed in', async () => {
      const app = await start({ responseMode: 'form_post' }, { variant })
      await app.browser.submit(await app.browser.goto(`${app.url}/profile`))
      for (const params of [{}, { state: 'x' }, { state: 'x', code: 'y' }]) {
        const page = await post(app.browser, app, new URLSearchParams(params), { follow: false })
        expect(page.headers.getSetCookie()).toEqual([])
        expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
      }
      expect(tokenRequests(app)).toBe(1)
    })

    test('A2: the flow’s cookie alone, without the session that began it, is not enough', async () => {
      const app = await start({ responseMode: 'form_post' }, { variant })
      await app.browser.goto(`${app.url}/`)
      app.clock.advance(20_000)
      const form = await app.browser.goto(`${app.url}/oauth2authorize`)
      const thief = new Browser()
      for (const cookie of app.browser.cookies('127.0.0.1')) {
        if (cookie.name !== variant.cookieName) thief.setCookie('127.0.0.1', cookie)
      }
      expect(answer(await thief.submit(form))).toEqual(STATE_INVALID)
      expect(tokenRequests(app)).toBe(0)
    })

    test('A7: five tabs that come back at the same moment all get to where they wanted', async () => {
      const app = await start({ responseMode: 'form_post' }, { variant })
      await app.browser.goto(`${app.url}/oauth2authorize`).then((form) => app.browser.submit(form))
      await app.browser.goto(`${app.url}/profile`)
      const scopes = ['a', 'b', 'c', 'd', 'e'].map((name) => `/files?${name}`)
      const forms = []
      for (const path of scopes) forms.push(await app.browser.goto(app.url + path))
      const pages = await Promise.all(forms.map((form) => app.browser.submit(form)))
      expect(pages.map(({ url }) => url)).toEqual(scopes.map((path) => app.url + path))
    })
  })

  test('the cookie of a flow goes with forms of other sites, and no other cookie does', async () => {
    const app = await start({ responseMode: 'form_post' })
    const page = await app.browser.step(`${app.url}/oauth2authorize`)
    expect(ourCookies(page)).toEqual([expect.stringMatching(/flow\..*HttpOnly; Secure; SameSite=None/)])
    const { browser } = app
    const form = await browser.goto(`${app.url}/profile`)
    const posted = await browser.submit(form, 0, {}, { stopAt: () => true })
    expect(ourCookies(posted)).toEqual([expect.stringMatching(/answer\..*HttpOnly; SameSite=Lax/)])
    expect([posted.status, posted.body]).toEqual([303, ''])
    expect(posted.headers.get('cache-control')).toBe('no-store')
    expect(posted.headers.get('referrer-policy')).toBe('no-referrer')
    const lax = await start({})
    expect(ourCookies(await lax.browser.step(`${lax.url}/oauth2authorize`))).toEqual([
      expect.stringContaining('SameSite=Lax'),
    ])
  })

  test('a form is refused where nobody asked for one, whatever its route', async () => {
    const app = await start({})
    const { callback } = await begin(app)
    const params = new URL(callback).searchParams
    expect((await post(app.browser, app, params, { follow: false })).status).toBe(405)
    await expectUntouched({ ...app }, await back(app, altered(callback, { state: null })))
    const own = await start(
      { routes: false },
      {
        routes: (fastify) => {
          parseForms(fastify)
          fastify.post('/oauth2callback', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
        },
      },
    )
    expect(answer(await post(own.browser, own, params))).toEqual(STATE_INVALID)
  })

  test.each<[string, (text: string) => unknown]>([
    ['gives an object', parse],
    ['gives URLSearchParams', (text) => new URLSearchParams(text)],
  ])('a route of the app’s own can take it too, with a parser of the app’s that %s', async (_name, parser) => {
    const app = await start(
      { responseMode: 'form_post', routes: false },
      {
        routes: (fastify) => {
          fastify.register(async (child) => {
            parseForms(child, parser)
            const method = ['GET', 'POST']
            child.route({
              ...callbackRouteOptions,
              method,
              url: '/oauth2callback',
              handler: (request, reply) => handleCallback(request, reply),
            })
          })
        },
      },
    )
    const page = await app.browser.submit(await app.browser.goto(`${app.url}/profile`))
    expect([page.status, page.url]).toEqual([200, `${app.url}/profile`])
  })

  test.each<[string, Record<string, string>, string | Buffer, number, string]>([
    ['JSON', { 'content-type': 'application/json' }, '{"state":"x"}', 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE'],
    [
      'multipart',
      { 'content-type': 'multipart/form-data; boundary=x' },
      '--x--',
      415,
      'FST_ERR_CTP_INVALID_MEDIA_TYPE',
    ],
    ['text', { 'content-type': 'text/plain' }, 'state=x', 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE'],
    ['no type', {}, 'state=x', 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE'],
    ['65 kB', form(), `state=${'x'.repeat(65_600)}`, 413, 'FST_ERR_CTP_BODY_TOO_LARGE'],
    ['nothing', form(), '', 400, 'FST_OAUTH2_STATE_INVALID'],
    ['no state', form(), 'code=x', 400, 'FST_OAUTH2_STATE_INVALID'],
    ['a state twice', form(), 'state=x&state=x&code=y', 400, 'FST_OAUTH2_STATE_INVALID'],
    ['60 kB of state', form(), `state=${'x'.repeat(60_000)}`, 400, 'FST_OAUTH2_STATE_INVALID'],
    ['invalid UTF-8', form(), Buffer.from('state=%ff%fe%&code=\xff', 'latin1'), 303, ''],
    ['30,000 fields', form(), 'a&'.repeat(30_000), 400, 'FST_OAUTH2_STATE_INVALID'],
    ['__proto__', form(), '__proto__=1&state[__proto__]=2', 400, 'FST_OAUTH2_STATE_INVALID'],
  ])('%s in the body is never a 500', async (_name, headers, payload, status, code) => {
    const { app } = await start({ responseMode: 'form_post', baseUrl: 'https://app.example' })
    const response = await app.inject({ method: 'POST', url: '/oauth2callback', headers, payload })
    expect([response.statusCode, response.body ? response.json().code : '']).toEqual([status, code])
  })

  test.each<[string, string]>([
    ['the character 0', '%00'],
    ['3,000 characters', 'x'.repeat(3_000)],
    ['a path', '../../credentials'],
    ['another alphabet', encodeURIComponent('✓'.repeat(43))],
    ['nothing', ''],
  ])('A8: %s in the place of what a form is called is refused, and no store hears of it', async (_name, flow) => {
    const asked: string[] = []
    const db = await openSqlite({ path: ':memory:' })
    await createCredentialTables(db)
    const inner = sqlStore({ db, closeDb: true })
    onTestFinished(() => inner.close())
    const storage: CredentialStore = {
      get: async (key) => {
        asked.push(key)
        return inner.get(key)
      },
      put: async (...args) => inner.put(...args),
      delete: async (...args) => inner.delete(...args),
    }
    const app = await start({ responseMode: 'form_post', userKey: () => 'ann', encryptionKeys: KEY }, { storage })
    const form = await app.browser.goto(`${app.url}/profile`)
    asked.length = 0
    expect(answer(await app.browser.goto(`${app.url}/oauth2callback?flow=${flow}`))).toEqual(STATE_INVALID)
    expect(asked).toEqual([])
    expect((await app.browser.submit(form)).status).toBe(200)
  })

  test.each(['code', 'iss', 'error'])('%s twice is refused, and the real form still works', async (name) => {
    const app = await start({ responseMode: 'form_post' })
    const form = await app.browser.goto(`${app.url}/profile`)
    const params = new URLSearchParams(
      form.forms[0]?.fields.map((field) => [field.name, field.value] as [string, string]),
    )
    params.append(name, 'again')
    params.append(name, 'and again')
    await expectUntouched(app, await post(app.browser, app, params, { from: 'http://localhost' }))
    expect((await app.browser.submit(form)).status).toBe(200)
  })

  test('what cannot be carried to the session is a 413, and fields that nobody reads are not carried', async () => {
    const app = await start({ responseMode: 'form_post' })
    const form = await app.browser.goto(`${app.url}/profile`)
    const params = new URLSearchParams(
      form.forms[0]?.fields.map((field) => [field.name, field.value] as [string, string]),
    )
    const long = new URLSearchParams(params)
    long.set('code', 'c'.repeat(8_000))
    expect(answer(await post(app.browser, app, long, { from: 'http://localhost' }))).toEqual([
      413,
      'FST_OAUTH2_ANSWER_TOO_LARGE',
    ])
    params.set('user', 'u'.repeat(50_000))
    expect((await post(app.browser, app, params, { from: 'http://localhost' })).url).toBe(`${app.url}/profile`)
  })

  test('a code of 4 kB is carried', async () => {
    const app = await start({ responseMode: 'form_post' })
    app.provider.authorizeAnswer = (_params, defaults) => ({ ...defaults(), code: 'c'.repeat(4_000) })
    await app.browser.submit(await app.browser.goto(`${app.url}/profile`))
    expect(app.provider.requests.at(-1)?.params.code).toHaveLength(4_000)
    expect(app.browser.rejectedCookies).toEqual([])
  })

  test('A14: what is left of a longer answer, which no store took, does not spoil the next one', async () => {
    const storage = breakableStore({ ...memoryStore(), shared: true })
    const app = await start({ responseMode: 'form_post', encryptionKeys: KEY }, { storage })
    const form = await app.browser.goto(`${app.url}/profile`)
    const long = form.forms[0]?.fields.map(({ name, value }) => [name, name === 'code' ? 'c'.repeat(4_000) : value])
    storage.failing = true
    const page = await post(app.browser, app, new URLSearchParams(long as [string, string][]), {
      from: 'http://localhost',
    })
    expect(answer(page)).toEqual([503, 'FST_OAUTH2_STORE_UNAVAILABLE'])
    storage.failing = false
    expect((await app.browser.submit(form)).url).toBe(`${app.url}/profile`)
    expect(app.browser.cookies('127.0.0.1').filter(({ name }) => name.includes('answer.'))).toEqual([])
  })

  test('an answer waits for a minute, and no longer', async () => {
    const app = await start({ responseMode: 'form_post' })
    const form = await app.browser.goto(`${app.url}/profile`)
    const posted = await app.browser.submit(form, 0, {}, { stopAt: () => true })
    app.clock.advance(61_000)
    await expectUntouched(app, await app.browser.step(posted.location as string))
    expect((await app.browser.submit(form)).status).toBe(200)
    const slow = await app.browser.goto(`${app.url}/files`)
    const sent = await app.browser.submit(slow, 0, {}, { stopAt: () => true })
    app.clock.advance(59_000)
    expect((await app.browser.goto(sent.location as string)).url).toBe(`${app.url}/files`)
  })

  test('plain HTTP on another machine is refused when the app starts', async () => {
    const client = { responseMode: 'form_post', baseUrl: 'http://app.example' } as const
    await expect(startApp({ client })).rejects.toThrow(/Option "baseUrl": must be an https URL/)
  })
})

function form(): Record<string, string> {
  return { 'content-type': 'application/x-www-form-urlencoded' }
}

describe('L4: a pushed authorization request', () => {
  async function pushing(client: Partial<OAuth2ClientOptions> = {}, options: TestAppOptions = {}): Promise<TestApp> {
    const app = await start({ pushedAuthorizationRequests: true, ...client }, options)
    app.provider.parAnswer = (_params, defaults) => defaults()
    return app
  }

  test('leaves client_id and request_uri in the URL, a new one for each flow', async () => {
    const app = await pushing()
    const first = await app.browser.step(`${app.url}/files`)
    const second = await app.browser.step(`${app.url}/files`)
    const uris = [first, second].map((page) => {
      const { searchParams } = new URL(page.location as string)
      expect([...searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
      return searchParams.get('request_uri')
    })
    expect(new Set(uris).size).toBe(2)
    const pushed = app.provider.requests.find(({ endpoint }) => endpoint === 'par')
    expect(pushed?.params).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      scope: 'openid email files.read',
    })
    expect(pushed?.params.client_secret).toBe(app.provider.clientSecret)
    expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
  })

  test('a reference that was used or has expired is the end of that try, and the next one has its own', async () => {
    const app = await pushing()
    const page = await app.browser.step(`${app.url}/files`)
    await app.browser.step(page.location as string)
    expect((await app.browser.goto(page.location as string)).status).toBe(400)
    expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
    expect(app.provider.count('par')).toBe(2)
  })

  test('is made where the metadata requires it', async () => {
    const app = await start({})
    app.provider.parAnswer = (_params, defaults) => defaults()
    const { metadata } = app.provider
    app.provider.metadata = (given) => ({ ...metadata(given), require_pushed_authorization_requests: true })
    expect((await app.browser.step(`${app.url}/files`)).location).toContain('request_uri=')
    const never = await start({ pushedAuthorizationRequests: false }, { provider: app.provider })
    expect((await never.browser.step(`${never.url}/files`)).location).not.toContain('request_uri=')
  })

  const evil = { body: 'x' }
  test.each<[string, NonNullable<ScriptedProvider['parAnswer']>, number, string]>([
    [
      '400',
      () => ({ status: 400, body: { error: 'invalid_request', error_description: 'evil' } }),
      502,
      'EXCHANGE_FAILED',
    ],
    ['401', () => ({ status: 401, body: { error: 'invalid_client' } }), 500, 'CLIENT_REJECTED'],
    ['429', () => ({ status: 429, headers: { 'retry-after': '7' }, ...evil }), 503, 'PROVIDER_UNAVAILABLE'],
    ['500', () => ({ status: 500, body: { error: 'server_error' } }), 503, 'PROVIDER_UNAVAILABLE'],
    ['503', () => ({ status: 503, ...evil }), 503, 'PROVIDER_UNAVAILABLE'],
    ['a broken connection', () => ({ destroy: true }), 503, 'PROVIDER_UNAVAILABLE'],
    ['no answer', () => ({ hang: true }), 503, 'PROVIDER_UNAVAILABLE'],
    ['200 without request_uri', () => ({ body: { expires_in: 60 } }), 502, 'EXCHANGE_FAILED'],
    ['201 without request_uri', () => ({ status: 201, body: { expires_in: 60 } }), 502, 'EXCHANGE_FAILED'],
    ['201 with a number', () => ({ status: 201, body: { request_uri: 7, expires_in: 60 } }), 502, 'EXCHANGE_FAILED'],
    ['a redirect', () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }), 502, 'EXCHANGE_FAILED'],
    [
      'HTML',
      () => ({ status: 201, headers: { 'content-type': 'text/html' }, body: '<h1>evil</h1>' }),
      502,
      'EXCHANGE_FAILED',
    ],
    ['an array', () => ({ status: 201, body: [] }), 502, 'EXCHANGE_FAILED'],
  ])('%s is a coded error, and no redirect', async (_name, parAnswer, status, code) => {
    const app = await pushing({ timeout: 1_000 })
    app.provider.parAnswer = parAnswer
    for (const path of ['/files', '/oauth2authorize']) {
      const page = await app.browser.step(app.url + path)
      expect([...answer(page), page.location]).toEqual([status, `FST_OAUTH2_${code}`, null])
      expect(page.headers.get('retry-after') !== null).toBe(status === 503)
      expect(page.body).not.toContain('evil')
      expect(flowCookies(app.browser, '127.0.0.1')).toEqual([])
    }
    for (const secret of app.provider.secrets()) expect(app.logs.text()).not.toContain(secret)
    expect(app.logs.text()).not.toContain('evil')
  })

  test('200 MB are not read', async () => {
    let sent = 0
    const endless = createServer((_request, response) => {
      response.writeHead(201, { 'content-type': 'application/json' })
      const chunk = Buffer.alloc(1024 * 1024, 'x')
      const more = () => {
        while (sent < 200 && !response.destroyed) {
          sent++
          if (!response.write(chunk)) return void response.once('drain', more)
        }
        response.end()
      }
      more()
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => endless.once('listening', resolve))
    onTestFinished(() => void endless.close())
    const app = await pushing()
    const { metadata } = app.provider
    const pushed_authorization_request_endpoint = `http://127.0.0.1:${(endless.address() as { port: number }).port}/`
    app.provider.metadata = (given) => ({ ...metadata(given), pushed_authorization_request_endpoint })
    const page = await app.browser.step(`${app.url}/files`)
    expect([page.status, page.location]).toEqual([502, null])
    expect(sent).toBeLessThan(60)
  })
})

describe('L5: private_key_jwt', () => {
  test('says who we are with a key: at the pushed request, the token endpoint and at revocation, each time anew', async () => {
    const provider = await publicProvider()
    const app = await start(
      { clientSecret: undefined as never, clientKey, pushedAuthorizationRequests: true },
      { provider },
    )
    const { metadata } = provider
    provider.metadata = (given) => ({
      ...metadata(given),
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['RS256', 'PS256'],
    })
    provider.parAnswer = (_params, defaults) => defaults()
    expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
    const asked = provider.requests.filter(({ endpoint }) => ['par', 'token', 'revoke'].includes(endpoint))
    expect(asked.map(({ endpoint }) => endpoint)).toEqual(['par', 'token'])
    const ids = new Set<unknown>()
    for (const { params, headers } of asked) {
      expect(params.client_secret ?? headers.authorization).toBeUndefined()
      expect(params.client_assertion_type).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      // A server whose clock is 8 seconds behind ours, and which takes nothing from the future.
      const strict = {
        currentDate: new Date(app.clock.now() - 8_000),
        audience: provider.issuer,
        issuer: provider.clientId,
      }
      const { payload, protectedHeader } = await jwtVerify(params.client_assertion as string, clientKeys, strict)
      expect(protectedHeader).toMatchObject({ alg: 'PS256', kid: 'key-1' })
      expect(payload.aud).toBe(provider.issuer)
      expect(payload.sub).toBe(provider.clientId)
      expect((payload.iat as number) * 1000).toBeLessThanOrEqual(app.clock.now() - 8_000)
      expect((payload.exp as number) - (payload.iat as number)).toBeLessThanOrEqual(60)
      expect((payload.exp as number) * 1000).toBeGreaterThan(app.clock.now() + 30_000)
      ids.add(payload.jti)
    }
    expect(ids.size).toBe(asked.length)
  })
})
