/** What is sent for an error, to the last character: a page for people, JSON for programs, or the app's own answer. */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { type OAuth2ClientError, type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'
import type { Page } from '../helpers/browser.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'

const main = ({ body }: Page) => /<main>(.*)<\/main>/s.exec(body)?.[1]

/** Asked for by `/both`, and declined. */
async function declined(client: Partial<OAuth2ClientOptions> = {}): Promise<TestApp> {
  const app = await startApp({
    client,
    routes: (server) => {
      server.get('/both', { onRequest: requireOAuth('files.read calendar.read') }, async () => ({}))
    },
  })
  await app.browser.goto(`${app.url}/profile`)
  app.provider.grant = (scopes) => scopes.filter((scope) => !scope.endsWith('.read'))
  return app
}

describe('a page for people', () => {
  test('lists what is missing, then the way on, and holds nothing else', async () => {
    const { browser, url } = await declined()
    const page = await browser.goto(`${url}/both`)
    expect(page.status).toBe(403)
    expect(main(page)).toMatch(
      /^<h1>A permission is missing<\/h1><p>[^<]+<\/p><ul><li>files\.read<\/li><li>calendar\.read<\/li><\/ul><p><a class="way" href="\/oauth2authorize\?[^"<]+">Ask again<\/a><\/p><p><small>FST_OAUTH2_SCOPE_DECLINED<\/small><\/p>$/,
    )
  })

  test('has no list where there is nothing to list, and no way on where there is none', async () => {
    const { browser, url, provider, clock } = await startApp()
    await browser.goto(`${url}/profile`)
    clock.advance(3_600_001)
    provider.tokenAnswer = () => ({ status: 503, body: {} })
    const page = await browser.goto(`${url}/profile`)
    expect(main(page)).toMatch(
      /^<h1>The sign-in service is not answering<\/h1><p>[^<]+<\/p><p><small>FST_OAUTH2_PROVIDER_UNAVAILABLE<\/small><\/p>$/,
    )
  })

  test('allows its own style and nothing else, is not framed, and tells nobody where it was', async () => {
    const { browser, url } = await declined()
    const { headers, body } = await browser.goto(`${url}/both`)
    const style = /<style>(.*)<\/style>/s.exec(body)?.[1] as string
    const hash = createHash('sha256').update(style).digest('base64')
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    expect([headers.get('x-frame-options'), headers.get('referrer-policy')]).toEqual(['DENY', 'no-referrer'])
  })

  test('asks in two forms that hold what they post, and nothing else', async () => {
    const { browser, url, provider } = await startApp({
      storage: memoryStore(),
      client: { userKey: () => 'victim' },
    })
    provider.idTokenClaims = (claims) => ({ ...claims, email: `a\u202eb\u0007${'c'.repeat(300)}` })
    const page = await browser.goto(`${url}/oauth2authorize`, { from: 'https://evil.example/' })
    const { host } = new URL(url)
    const form = (more: string, text: string) =>
      `<form method="post" action="[^"]+"><input type="hidden" name="_csrf" value="[^"]+">${more}<button class="way">${text}</button></form>`
    expect(main(page)).toMatch(
      new RegExp(
        `^<h1>Connect this account\\?</h1><p>[^<]+</p><ul><li>Account: abc{189}</li><li>At: ${new URL(provider.issuer).host}</li><li>To be connected to: ${host}</li></ul>${form('', 'Connect this account')}${form('<input type="hidden" name="refuse" value="true">', 'Do not connect it')}<p><small>FST_OAUTH2_CONFIRMATION_REQUIRED</small></p>$`,
      ),
    )
    // Browsers apply `form-action` to where a form leads in the end, which may be anywhere.
    expect(page.headers.get('content-security-policy')).not.toContain('form-action')
  })

  test('says so where the provider does not name the account', async () => {
    const { browser, url } = await startApp({
      storage: memoryStore(),
      client: { userKey: () => 'victim', scopes: ['files.read'] },
    })
    const page = await browser.goto(`${url}/oauth2authorize`, { from: 'https://evil.example/' })
    expect([page.status, page.body]).toEqual([
      403,
      expect.stringContaining('<li>Account: not named by the provider</li>'),
    ])
  })

  test('has a title and a code also where no title was made for the code', async () => {
    const { browser, url, provider } = await startApp()
    provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
    const page = await browser.goto(`${url}/profile`)
    expect(main(page)).toMatch(/^<h1>This did not work<\/h1>.*<small>FST_OAUTH2_EXCHANGE_FAILED<\/small><\/p>$/)
  })

  test('is what people get also where everybody may pass', async () => {
    const storage = breakableStore(memoryStore())
    storage.failing = true
    const { browser, url } = await startApp({ storage, client: { userKey: () => 'alice' } })
    const page = await browser.goto(`${url}/`)
    expect([page.status, page.headers.get('content-type')]).toEqual([503, 'text/html; charset=utf-8'])
    expect(main(page)).toContain('<h1>Temporarily unavailable</h1>')
  })
})

describe('the log', () => {
  test.each([
    ['what has to be looked after, with its error', 503, 50],
    ['that the set-up is wrong, with its error', 500, 50],
    ['that somebody may not pass, with its code, as nothing to worry about', 403, 30],
  ])('says %s', async (_name, status, level) => {
    const { browser, url, provider, clock, logs } = await startApp()
    await browser.goto(`${url}/profile`)
    if (status >= 500) clock.advance(3_600_001)
    provider.tokenAnswer = () =>
      status === 500 ? { status: 401, body: { error: 'invalid_client' } } : { status, body: {} }
    logs.lines.length = 0
    const answer = (await browser.xhr(`${url}/files`)).json()
    const line = logs.lines.map((text) => JSON.parse(text)).find(({ msg }) => msg === answer.message)
    expect([answer.statusCode, line]).toMatchObject([status, { level, client: 'oauth2' }])
    expect(status >= 500 ? line.err.code : line.code).toBe(answer.code)
  })
})

describe('onError', () => {
  type OnError = NonNullable<OAuth2ClientOptions['onError']>
  const slow = (): SessionVariant => ({ ...(sessionVariants[0] as SessionVariant), register: withSlowStore })
  const withSlowStore = (app: FastifyInstance) => sessionVariants[0]?.register(app, { store: new SlowSessionStore(20) })

  test.each<[string, OnError, number]>([
    ['sends without saying so', (_error, _request, reply) => void reply.code(418).send('mine'), 418],
    ['returns what it sent with', (_error, _request, reply) => reply.code(418).send('mine'), 418],
    [
      'answers past Fastify',
      (_error, _request, reply) => {
        reply.hijack()
        reply.raw.writeHead(418).end('mine')
      },
      418,
    ],
    [
      'returns the reply, and answers past Fastify later',
      (_error, _request, reply) => {
        reply.hijack()
        setImmediate(() => reply.raw.writeHead(418).end('mine'))
        return reply
      },
      418,
    ],
  ])('that %s, with a session that takes its time, is the only answer', async (_name, onError, status) => {
    const { browser, url, logs } = await startApp({ variant: slow(), client: { onError } })
    for (const page of [await browser.xhr(`${url}/profile`), await browser.xhr(`${url}/notes`, { method: 'POST' })]) {
      expect([page.status, page.body]).toEqual([status, 'mine'])
    }
    expect(logs.text()).not.toMatch(/ALREADY_SENT|HEADERS_SENT|already sent/i)
  })

  test('that looks and leaves the answer to us changes nothing', async () => {
    const seen: string[] = []
    const { browser, url } = await declined({ onError: (error) => void seen.push(error.code) })
    const page = await browser.goto(`${url}/both`)
    const told = await browser.xhr(`${url}/both`)
    expect([page.status, main(page)]).toEqual([403, expect.stringContaining('Ask again')])
    expect([told.status, told.json()]).toMatchObject([403, { missingScopes: ['files.read', 'calendar.read'] }])
    expect(seen).toEqual(['FST_OAUTH2_SCOPE_DECLINED', 'FST_OAUTH2_INSUFFICIENT_SCOPE'])
  })

  test('gets the way on of a person, and what is missing', async () => {
    const seen: OAuth2ClientError[] = []
    const { browser, url, provider } = await declined({
      onError: (error, _request, reply) => {
        seen.push(error)
        return reply.code(error.statusCode).send('mine')
      },
    })
    expect((await browser.goto(`${url}/both`)).body).toBe('mine')
    expect(seen[0]?.details).toEqual({
      missingScopes: ['files.read', 'calendar.read'],
      authorizeUrl: expect.stringMatching(/^\/oauth2authorize\?ticket=.*&return_url=%2Fboth$/),
    })
    provider.grant = (scopes) => scopes
    expect((await browser.goto(url + seen[0]?.details?.authorizeUrl)).url).toBe(`${url}/both`)
  })

  test('gets no way on where a person has to answer a form, which is no link', async () => {
    const seen: OAuth2ClientError[] = []
    const { browser, url } = await startApp({
      storage: memoryStore(),
      client: { userKey: () => 'victim', onError: (error) => void seen.push(error) },
    })
    await browser.goto(`${url}/oauth2authorize`, { from: 'https://evil.example/' })
    expect(Object.keys(seen[0]?.details ?? {})).toEqual(['account', 'provider', 'application', 'confirmUrl', '_csrf'])
  })

  test('learns why credentials are no good any more', async () => {
    const seen: OAuth2ClientError[] = []
    const { browser, url, provider, clock } = await startApp({ client: { onError: (error) => void seen.push(error) } })
    await browser.goto(`${url}/profile`)
    provider.withdraw()
    clock.advance(3_600_001)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
    const [error] = seen
    expect([error?.code, error?.cause]).toEqual([
      'FST_OAUTH2_CREDENTIALS_REQUIRED',
      expect.objectContaining({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED', cause: expect.anything() }),
    ])
  })

  test('what it does to an error is seen by nobody else who waited for the same refresh', async () => {
    const seen: unknown[] = []
    const { browser, url, provider, clock } = await startApp({
      storage: memoryStore(),
      client: {
        onError: (error) => {
          seen.push(error.details?.note)
          error.details = { ...error.details, note: 'for one' }
        },
      },
    })
    await browser.goto(`${url}/profile`)
    clock.advance(3_600_001)
    const asked: (() => void)[] = []
    provider.tokenAnswer = () =>
      new Promise((resolve) => asked.push(() => resolve({ status: 503, body: {}, headers: { 'retry-after': '9' } })))
    const both = [browser.xhr(`${url}/profile`), browser.xhr(`${url}/files`)]
    await expect.poll(() => asked.length).toBe(1)
    for (const answerNow of asked) answerNow()
    for (const page of await Promise.all(both)) {
      expect([page.status, page.headers.get('retry-after')]).toEqual([503, '9'])
    }
    expect(seen).toEqual([undefined, undefined])
  })
})
