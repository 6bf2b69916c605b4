import { generateKeyPairSync } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { OAuth2ClientError as Base, type OAuth2ClientError, requireOAuth } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import type { LogEntry } from '../helpers/browser.js'
import { Browser } from '../helpers/browser.js'
import { type Script, startScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'
import { altered, back, begin } from '../routes/flow.js'

/** Ways to see an object that programs, people and loggers use. */
const views = (value: unknown): string[] => [
  inspect(value, { depth: 10 }),
  inspect(value, { depth: 10, showHidden: true, getters: true }),
  String(value),
  JSON.stringify(value) ?? '',
  value instanceof Error ? String(value.stack) : '',
]

/** An answer of the token endpoint that repeats everything it was asked with: what must not be repeated any further. */
const echoing =
  (status: number, error: string): Script =>
  (params) => ({
    status,
    headers: {
      'www-authenticate': `Bearer error="${error}", error_description="${params.code ?? params.refresh_token}"`,
    },
    body: {
      error,
      error_description: Object.values(params).join(' '),
      error_uri: `https://x/?${Object.values(params)}`,
    },
  })

const failures: [string, Script][] = [
  ['invalid_grant that echoes', echoing(400, 'invalid_grant')],
  ['invalid_client that echoes', echoing(401, 'invalid_client')],
  ['invalid_scope that echoes', echoing(400, 'invalid_scope')],
  ['a 500 that echoes', echoing(500, 'server_error')],
  ['a 429 that echoes', echoing(429, 'slow_down')],
  [
    'a page that echoes',
    (params) => ({ body: `<html>${Object.values(params)}`, headers: { 'content-type': 'text/html' } }),
  ],
  ['broken JSON with tokens', async (_p, defaults) => ({ body: `${JSON.stringify((await defaults()).body)},` })],
  ['no access token', async (_p, defaults) => ({ body: { ...(await defaults()).body, access_token: undefined } })],
  ['another token type', async (_p, defaults) => ({ body: { ...(await defaults()).body, token_type: 'mac' } })],
  [
    'a bad ID token',
    async (_p, defaults) => {
      const { body } = await defaults()
      return { body: { ...body, id_token: `${body.id_token ?? 'a.b.'}x` } }
    },
  ],
  ['bad scopes', async (_p, defaults) => ({ body: { ...(await defaults()).body, scope: [1] } })],
  [
    'a lost answer',
    async (_p, defaults) => {
      await defaults()
      return { destroy: true }
    },
  ],
  ['no answer', () => ({ hang: true })],
]

const cases = [
  { name: 'session, in a session store', index: 1, storage: 'session' as const },
  { name: 'session, in a cookie', index: 2, storage: 'session' as const },
  { name: 'a store', index: 1, storage: 'memory' as const },
]

describe.each(cases)('storage: $name', ({ index, storage }) => {
  test('L3, J10, F8: a whole life leaves no secret in logs, answers, errors and stores', async () => {
    const store = new SlowSessionStore(2)
    const map = new Map<string, MemoryEntry>()
    const errors: OAuth2ClientError[] = []
    const seen: string[] = []
    const records: string[] = []
    let breakFetch = false
    const usual = sessionVariants[index]!
    const app = await startApp({
      variant: { ...usual, register: (server) => usual.register(server, { store }) },
      storage: storage === 'session' ? 'session' : memoryStore({ map }),
      client: {
        timeout: 150,
        refreshBeforeExpiry: 0,
        onError: (error) => void errors.push(error),
        onAuthorized: (_request, authorized) => void seen.push(...views(authorized)),
        onCredentialsChanged: (event) => void seen.push(...views(event)),
        // As instrumented clients do it: the error tells the whole request.
        fetch: async (input, init) => {
          if (!breakFetch) return fetch(input, init)
          const cause = Object.assign(new Error(`failed: ${input} ${init?.body}`), { code: 'ECONNRESET', init })
          throw new TypeError(`fetch failed: ${init?.body}`, { cause })
        },
      },
      routes(server) {
        server.get('/look', { onRequest: requireOAuth() }, async (request) => {
          const { oauth2 } = request
          await oauth2.getAccessToken()
          seen.push(
            ...views(oauth2.credentials),
            ...views(oauth2.accounts()),
            ...views(oauth2.claims),
            ...views(oauth2),
          )
          request.log.info({ credentials: oauth2.credentials, oauth2, accounts: oauth2.accounts() }, 'looked')
          return { ...oauth2.credentials?.toJSON() }
        })
        server.get('/leak', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({
          all: oauth2,
          one: oauth2.credentials,
        }))
        server.get('/throw', { onRequest: requireOAuth() }, ({ oauth2 }) => oauth2.getAccessToken({ rejected: 'x' }))
        server.get('/wrong', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.fetch('https://evil.example/'))
        server.get('/revoke', { onRequest: requireOAuth() }, ({ oauth2 }) => oauth2.revoke())
        server.get('/csrf', { config: { oauth2: 'aware' } }, async ({ oauth2 }) => oauth2.xsrfToken)
      },
    })
    const { browser, url, provider, clock } = app
    const snapshot = () => {
      records.push(...store.records.values(), ...[...map].flat().map((entry) => JSON.stringify(entry)))
    }
    const visit = async (...paths: string[]) => {
      for (const path of paths) {
        const page = await browser.goto(url + path)
        // An hour passes for loop protection and for whoever waits.
        clock.advance(61_000)
        if (page.status >= 500) expect(page.body).toContain('FST_OAUTH2_')
        snapshot()
      }
    }

    await visit('/', '/profile', '/files', '/look', '/leak', '/api', '/wrong')
    provider.grant = (scopes) => scopes.filter((scope) => scope !== 'calendar.read')
    await visit('/calendar')
    await browser.xhr(`${url}/calendar`)
    provider.grant = (scopes) => scopes
    await visit('/oauth2authorize?scope=nobody', '/oauth2authorize?ticket=x', '/oauth2callback', '/nowhere')

    // Every way in which a callback can fail.
    for (const [, script] of failures) {
      const { callback } = await begin(app)
      provider.tokenAnswer = script
      await back(app, callback)
      provider.tokenAnswer = undefined
      await back(app, callback)
      clock.advance(61_000)
    }
    for (const params of [
      { state: null },
      { iss: 'https://evil.example' },
      { error: 'access_denied', error_description: 'x' },
      { error: 'invalid_scope' },
      { error: 'temporarily_unavailable' },
      { id_token: 'x' },
      { code: null },
    ] as Record<string, string | null>[]) {
      await back(app, altered((await begin(app)).callback, params))
      clock.advance(61_000)
    }
    breakFetch = true
    await back(app, (await begin(app)).callback)
    breakFetch = false
    const elsewhere = await begin(app)
    await back(app, elsewhere.callback, { browser: new Browser() })
    for (const method of ['HEAD', 'POST', 'PUT', 'OPTIONS']) await browser.step(elsewhere.callback, { method })
    clock.advance(61_000)

    // Every way in which a refresh can fail.
    for (const [, script] of failures) {
      await visit('/profile')
      clock.advance(3_601_000)
      provider.tokenAnswer = script
      await visit('/look', '/throw', '/api')
      await browser.xhr(`${url}/look`)
      provider.tokenAnswer = undefined
      clock.advance(3_601_000)
    }
    await visit('/profile')
    clock.advance(3_601_000)
    breakFetch = true
    await visit('/look')
    breakFetch = false
    await visit('/look', '/api')

    provider.apiAnswer = () => ({
      status: 401,
      headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
      body: {},
    })
    await visit('/api', '/api')
    provider.apiAnswer = undefined
    provider.revokeAnswer = echoing(400, 'invalid_token')
    await visit('/profile', '/revoke', '/profile')
    provider.revokeAnswer = undefined
    const csrf = (await browser.goto(`${url}/csrf`)).body
    for (const token of ['x', csrf]) {
      await browser.xhr(`${url}/oauth2logout`, { method: 'POST', headers: { 'x-csrf-token': token } })
    }
    await visit('/')

    const secrets = provider.secrets().filter((secret) => secret.length >= 8)
    expect(secrets.length).toBeGreaterThan(120)
    expect(new Set(errors.map(({ code }) => code)).size).toBeGreaterThanOrEqual(10)
    for (const error of errors) expect(error).toBeInstanceOf(Base)
    const places: Record<string, string> = {
      logs: app.logs.text(),
      answers: browser.log
        .filter((entry) => entry.url.startsWith(url))
        .map((entry) => received(entry, provider.issuer))
        .join('\n'),
      errors: errors.flatMap(views).join('\n'),
      objects: seen.join('\n'),
      stores: [...new Set(records)].join('\n'),
      client: views(app.app.oauth2).join('\n'),
    }
    expect(places.logs).toContain('incoming request')
    expect(places.objects).toContain('sub-alice')
    // A nonce is a claim of the ID token, which an app may show; it has done its work by then.
    const nonces = new Set(provider.requests.map(({ params }) => params.nonce))
    for (const [place, text] of Object.entries(places)) {
      const hidden = secrets.filter((secret) => !nonces.has(secret) || !['answers', 'objects'].includes(place))
      const found = hidden.flatMap((secret) => {
        const at = text.indexOf(secret)
        return at === -1 ? [] : [text.slice(Math.max(0, at - 200), at + 20)]
      })
      expect([place, found.slice(0, 3)]).toEqual([place, []])
      // What no provider hands out, and nobody should see either.
      expect(text).not.toContain('derived from the client secret')
    }
    for (const line of app.logs.lines) expect(line).not.toMatch(/[?&](code|state|ticket)=(?!x)/)
  }, 120_000)
})

/** What is written anywhere, by where it is. */
const written = (app: TestApp, store: SlowSessionStore, map: Map<string, MemoryEntry>, errors: unknown[]) => ({
  logs: app.logs.text(),
  errors: errors.flatMap(views).join('\n'),
  stores: [...store.records.values(), ...[...map].flat().map((entry) => JSON.stringify(entry))].join('\n'),
  client: views(app.app.oauth2).join('\n'),
})

describe.each(cases)('storage: $name', ({ index, storage }) => {
  const start = async (client: TestAppOptions['client'], options: TestAppOptions = {}) => {
    const store = new SlowSessionStore(2)
    const map = new Map<string, MemoryEntry>()
    const errors: unknown[] = []
    const usual = sessionVariants[index] as SessionVariant
    const app = await startApp({
      variant: { ...usual, register: (server) => usual.register(server, { store }) },
      storage: storage === 'session' ? 'session' : memoryStore({ map }),
      ...options,
      client: (provider) => ({
        refreshBeforeExpiry: 0,
        onError: (error) => void errors.push(error),
        ...(typeof client === 'function' ? client(provider) : client),
      }),
    })
    return { ...app, errors, places: () => written(app, store, map, errors) }
  }

  test('L3, L6: private keys, the client’s own and those of tokens, are nowhere', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const clientKey = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const keys = new Set([String(privateKey.export({ format: 'jwk' }).d), ...clientKey.split('\n').slice(1, -2)])
    const provider = await startScriptedProvider({ clientSecret: null })
    onTestFinished(() => provider.close())
    const methods = ['private_key_jwt']
    provider.metadata = (metadata) => ({ ...metadata, token_endpoint_auth_methods_supported: methods })
    const bound: Script = async (_params, defaults) => ({
      body: { ...(await defaults()).body, token_type: 'DPoP' },
    })
    const seen: string[] = []
    const app = await start(
      {
        clientKey,
        dpop: true,
        clientSecret: undefined as never,
        onAuthorized: (_request, authorized) => void seen.push(...views(authorized)),
        onCredentialsChanged: (event) => void seen.push(...views(event)),
      },
      {
        provider,
        routes(server) {
          server.get('/look', { onRequest: requireOAuth() }, async (request) => {
            const { oauth2 } = request
            seen.push(...views(oauth2), ...views(oauth2.credentials), ...views(oauth2.accounts()))
            request.log.info({ oauth2, credentials: oauth2.credentials }, 'looked')
            const { manager } = server.oauth2[kClient]
            if (storage === 'memory') {
              const record = (await manager.vaultOf(oauth2.userId as string).read())?.record
              keys.add(String((record?.accounts[0]?.tokens.dpopKey as { d?: unknown } | undefined)?.d))
            }
            return { all: oauth2, one: oauth2.credentials }
          })
        },
      },
    )
    const { browser, url, clock, errors } = app
    for (const [, script] of [['', bound] as const, ...failures.slice(0, 9), ['', bound] as const]) {
      provider.tokenAnswer = script
      await browser.goto(`${url}/look`)
      clock.advance(3_700_000)
    }
    expect((await browser.goto(`${url}/look`)).status).toBe(200)
    provider.apiAnswer = () => ({ status: 401, headers: { 'www-authenticate': 'DPoP error="x"' }, body: {} })
    await browser.goto(`${url}/api`)
    await browser.goto(`${url}/`)
    expect(errors.length).toBeGreaterThan(5)
    expect(keys.size).toBeGreaterThan(storage === 'memory' ? 4 : 3)
    const answers = browser.log.map((entry) => received(entry, provider.issuer)).join('\n')
    for (const [place, text] of Object.entries({ ...app.places(), objects: seen.join('\n'), answers })) {
      const found = [...keys].filter((key) => text.includes(key))
      expect([place, found]).toEqual([place, []])
      expect([place, /PRIVATE KEY|"d":\s*"|\bd: '/.exec(text)?.[0]]).toEqual([place, undefined])
    }
    expect(provider.requests.some(({ headers }) => headers.dpop !== undefined)).toBe(true)
    expect(provider.requests.some(({ params }) => params.client_assertion !== undefined)).toBe(true)
  }, 60_000)

  test('L3: logout tokens, good and bad ones, are nowhere', async () => {
    const app = await start({ backchannelLogout: true })
    const { browser, url, provider, clock } = app
    await browser.goto(`${url}/profile`)
    const now = Math.floor(clock.now() / 1000)
    const claims = {
      iss: provider.issuer,
      aud: provider.clientId,
      sub: 'sub-alice',
      iat: now,
      exp: now + 120,
      jti: 'canary-jti',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    }
    const good = await provider.sign(claims, { typ: 'logout+jwt' })
    const tokens = [
      `${good.slice(0, -9)}AAAAAAAAA`,
      await provider.sign({ ...claims, aud: 'another' }, { typ: 'logout+jwt' }),
      await provider.sign({ ...claims, nonce: 'canary-nonce' }, { typ: 'logout+jwt' }),
      'canary-that-is-no-jwt',
      good,
      good,
    ]
    const statuses: number[] = []
    let answers = ''
    for (const logout_token of tokens) {
      const body = new URLSearchParams({ logout_token })
      const response = await fetch(`${url}/oauth2logout/backchannel`, { method: 'POST', body })
      statuses.push(response.status)
      answers += `${JSON.stringify([...response.headers])}${await response.text()}`
    }
    expect(statuses.slice(0, 5)).toEqual([400, 400, 400, 400, 200])
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    for (const [place, text] of Object.entries({ ...app.places(), answers })) {
      const parts = [...new Set(tokens.flatMap((token) => [token, ...token.split('.').slice(1)]))]
      expect([place, [...parts, 'canary'].filter((part) => text.includes(part))]).toEqual([place, []])
    }
  })

  test('N4, L3: a form that is kept is seen by its person, on one page, and by nobody else', async () => {
    const canary = 'canary-of-a-form'
    const type = 'application/x-www-form-urlencoded'
    const app = await start(
      {},
      {
        routes(server) {
          server.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) =>
            done(null, Object.fromEntries(new URLSearchParams(String(body)))),
          )
          server.get('/write', (_request, reply) =>
            reply
              .type('text/html')
              .send(`<form method="post" action="/keep"><input name="${canary}-name" value="${canary}"></form>`),
          )
          server.post('/keep', { preHandler: requireOAuth([], { resume: true }) }, async () => 'kept')
        },
      },
    )
    const { browser, url, provider } = app
    // Where a session is a cookie, and there is no store, nothing is kept.
    const kept = storage === 'memory' || index === 1
    for (const script of [() => ({ status: 500, body: {} }), undefined] as (Script | undefined)[]) {
      provider.tokenAnswer = script
      const page = await browser.submit(await browser.goto(`${url}/write`))
      expect(new URL(page.url).pathname.endsWith('/resume'), page.url).toBe(kept && script === undefined)
      app.clock.advance(61_000)
    }
    const [shown, ...others] = browser.log.filter(({ body }) => body.includes(canary)).reverse()
    expect(shown?.url.startsWith(url)).toBe(true)
    expect(others.every((entry) => entry.url === `${url}/write`)).toBe(true)
    const headers = browser.log.map((entry) => received({ ...entry, body: '' }, '')).join('\n')
    for (const [place, text] of Object.entries({ ...app.places(), headers })) {
      expect([place, text.includes(canary)]).toEqual([place, false])
    }
    expect(provider.requests.some((request) => JSON.stringify(request).includes(canary))).toBe(false)
  })
})

/** A response as somebody on the way could read it, without what the provider has to get. */
function received({ status, headers, body }: LogEntry, issuer: string): string {
  const shown = headers.map(([name, value]) => {
    if (name.toLowerCase() !== 'location' || !value.startsWith(`${issuer}/authorize?`)) return `${name}: ${value}`
    const target = new URL(value)
    for (const allowed of ['state', 'nonce', 'code_challenge']) target.searchParams.delete(allowed)
    return `${name}: ${target}`
  })
  return [status, ...shown, '', body].join('\n')
}
