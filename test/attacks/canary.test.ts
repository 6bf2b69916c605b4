import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { OAuth2ClientError as Base, type OAuth2ClientError, requireOAuth } from '../../src/index.js'
import { type MemoryEntry, memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import type { LogEntry } from '../helpers/browser.js'
import { Browser } from '../helpers/browser.js'
import type { Script } from '../helpers/scripted-provider.js'
import { SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'
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
