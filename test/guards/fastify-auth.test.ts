/** Guards beside other ways to get in, composed by `@fastify/auth`. */
import auth from '@fastify/auth'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { OptionError, requireOAuth, verifyOAuth } from '../../src/index.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const KEY = { 'x-api-key': 'right' }

class WrongKeyError extends Error {
  readonly statusCode = 401
  readonly code = 'WRONG_KEY'
}

const verifyApiKey = async ({ headers }: FastifyRequest): Promise<void> => {
  if (headers['x-api-key'] !== 'right') throw new WrongKeyError('no such key')
}

async function start(options: TestAppOptions = {}) {
  const runs: string[] = []
  const app = await startApp({
    ...options,
    routes(server, provider) {
      server.register(auth)
      server.after(() => {
        const run = async ({ routeOptions: { url } }: FastifyRequest) => {
          runs.push(String(url))
          return { ran: true }
        }
        const functions = (...all: unknown[]) => server.auth(all as never)
        server.get('/or', { onRequest: functions(verifyApiKey, verifyOAuth('files.read')) }, run)
        server.get('/or-key-last', { onRequest: functions(verifyOAuth(), verifyApiKey) }, run)
        const all = { relation: 'and' } as const
        server.get('/and', { onRequest: server.auth([verifyApiKey, verifyOAuth()] as never, all) }, run)
        server.get('/and-oauth-first', { onRequest: server.auth([verifyOAuth(), verifyApiKey] as never, all) }, run)
        server.get('/run-all', { preHandler: server.auth([verifyOAuth(), verifyApiKey] as never, { run: 'all' }) }, run)
        server.get('/answers', { onRequest: functions(requireOAuth(), verifyApiKey) }, run)
        server.get(
          '/inside',
          {
            onRequest: requireOAuth(),
            preHandler: functions(verifyOAuth('files.read', { account: 'nobody' }), verifyApiKey),
          },
          async (request) => {
            const { selected } = request.oauth2
            await request.oauth2.getAccessToken({ rejected: (await request.oauth2.getAccessToken()).token })
            return { selected }
          },
        )
        server.get('/alone', { preHandler: verifyOAuth('files.read') }, run)
        server.get('/two', { onRequest: functions(verifyOAuth('files.read'), verifyOAuth('calendar.read')) }, run)
        options.routes?.(server, provider)
      })
    },
  })
  return { ...app, runs }
}

const json = ({ status, body }: { status: number; body: string }) => [status, JSON.parse(body)]

describe('or', () => {
  test('a key lets a program in that nobody signed in for', async () => {
    const { browser, url, runs } = await start()
    for (const path of ['/or', '/or-key-last', '/run-all']) {
      expect(json(await browser.xhr(url + path, { headers: KEY })), path).toEqual([200, { ran: true }])
    }
    expect(runs).toEqual(['/or', '/or-key-last', '/run-all'])
  })

  test('credentials let people in who have no key', async () => {
    const { browser, url } = await start()
    await browser.goto(`${url}/files`)
    for (const path of ['/or', '/or-key-last'])
      expect(json(await browser.xhr(url + path)), path).toEqual([200, { ran: true }])
  })

  test('where neither does, the last one answers: ours as the guard would', async () => {
    const { browser, url, provider, runs } = await start()
    const [status, body] = json(await browser.xhr(`${url}/or`))
    expect([status, body.code, body.statusCode]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED', 401])
    expect(body.authorizeUrl).toMatch(/^\/oauth2authorize\?ticket=/)
    const person = await browser.step(`${url}/or?page=2`)
    expect(person.status).toBe(302)
    expect(person.location).toContain(provider.issuer)
    expect(json(await browser.xhr(`${url}/or-key-last`))).toMatchObject([401, { code: 'WRONG_KEY' }])
    expect(runs).toEqual([])
  })

  test('a person is led to the provider and back to the same page', async () => {
    const { browser, url, runs } = await start()
    const page = await browser.goto(`${url}/or?page=2`)
    expect([page.status, page.url]).toEqual([200, `${url}/or?page=2`])
    expect(runs).toEqual(['/or'])
  })

  test('one scope more is a 403 that says which, or the way to the provider', async () => {
    const { browser, url } = await start()
    await browser.goto(`${url}/profile`)
    const answer = await browser.xhr(`${url}/or`)
    expect(json(answer)).toMatchObject([403, { code: 'FST_OAUTH2_INSUFFICIENT_SCOPE', missingScopes: ['files.read'] }])
    expect(answer.headers.get('www-authenticate')).toContain('insufficient_scope')
    expect((await browser.goto(`${url}/or`)).status).toBe(200)
  })

  test('two of ours: the last one says what is missing', async () => {
    const { browser, url } = await start()
    await browser.goto(`${url}/profile`)
    const [status, body] = json(await browser.xhr(`${url}/two`))
    expect([status, body.missingScopes]).toEqual([403, ['calendar.read']])
    expect(body.authorizeUrl).toContain('ticket=')
    expect((await browser.goto(`${url}/two`)).status).toBe(200)
  })
})

test('what a guard before wanted still counts where another function let the request in', async () => {
  const { browser, url, provider } = await start()
  await browser.goto(`${url}/profile`)
  expect(json(await browser.xhr(`${url}/inside`, { headers: KEY }))).toEqual([200, {}])
  provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
  const answer = json(await browser.xhr(`${url}/inside`, { headers: KEY }))
  expect(answer).toMatchObject([401, { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }])
  expect(answer[1].authorizeUrl).toContain('/oauth2authorize')
})

describe('and', () => {
  test('both, or nothing', async () => {
    const { browser, url, runs } = await start()
    expect(json(await browser.xhr(`${url}/and`))).toMatchObject([401, { code: 'WRONG_KEY' }])
    expect(json(await browser.xhr(`${url}/and`, { headers: KEY }))).toMatchObject([
      401,
      { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' },
    ])
    const redirected = await browser.step(`${url}/and-oauth-first`)
    expect(redirected.status).toBe(302)
    await browser.goto(`${url}/profile`)
    expect(json(await browser.xhr(`${url}/and-oauth-first`))).toMatchObject([401, { code: 'WRONG_KEY' }])
    expect(runs).toEqual([])
    expect(json(await browser.xhr(`${url}/and`, { headers: KEY }))).toEqual([200, { ran: true }])
    expect(json(await browser.xhr(`${url}/and-oauth-first`, { headers: KEY }))).toEqual([200, { ran: true }])
  })
})

test('without @fastify/auth it is a guard like the other', async () => {
  const { browser, url } = await start()
  expect(json(await browser.xhr(`${url}/alone`))).toMatchObject([401, { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' }])
  expect((await browser.goto(`${url}/alone`)).status).toBe(200)
})

test('requireOAuth answers by itself, so that nobody else is asked; the handler does not run', async () => {
  const { browser, url, runs } = await start()
  expect(json(await browser.xhr(`${url}/answers`, { headers: KEY }))).toMatchObject([
    401,
    { code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' },
  ])
  expect(runs).toEqual([])
})

test.each(sessionVariants.map((variant) => [variant.name, variant] as const))(
  '%s: an error handler of the app sees the error, and may pass it on',
  async (_name, variant) => {
    const seen: string[] = []
    const { browser, url } = await start({
      variant,
      routes(server) {
        server.setErrorHandler((error: Error & { code?: string }, _request, reply: FastifyReply) => {
          seen.push(String(error.code))
          return reply.send(error)
        })
      },
    })
    expect(json(await browser.xhr(`${url}/or`))).toMatchObject([401, { authorizeUrl: expect.any(String) }])
    expect((await browser.step(`${url}/or`)).status).toBe(302)
    expect(seen).toEqual(['FST_OAUTH2_CREDENTIALS_REQUIRED', 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  },
)

test('a handler that sends something after another function let it in sends just that', async () => {
  const { browser, url } = await start({
    routes(server) {
      server.get('/send', { onRequest: server.auth([verifyOAuth(), verifyApiKey] as never) }, (_request, reply) => {
        reply.code(418).send({ teapot: true })
      })
      server.get('/throw', { onRequest: server.auth([verifyOAuth(), verifyApiKey] as never) }, async () => {
        throw new WrongKeyError('of the handler')
      })
    },
  })
  expect(json(await browser.xhr(`${url}/send`, { headers: KEY }))).toEqual([418, { teapot: true }])
  expect(json(await browser.xhr(`${url}/throw`, { headers: KEY }))).toMatchObject([401, { message: 'of the handler' }])
})

test('options that make no sense are found when it is made', () => {
  expect(() => verifyOAuth('a', { resume: true } as never)).toThrow(OptionError)
  expect(() => verifyOAuth('"')).toThrow(OptionError)
})
