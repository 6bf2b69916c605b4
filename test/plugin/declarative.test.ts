import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import oauth2Client, { type GuardConfig } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { optionsFor, scriptedProvider, serve } from './serve.js'

const guarded = { config: { oauth2: true } } as const
const ok = async () => ({ ok: true })

describe('what config.oauth2 says', () => {
  test('is what guards do', async () => {
    const { browser, url, provider } = await startApp({
      routes: (app) => {
        app.get('/true', { config: { oauth2: true } }, async ({ oauth2 }) => ({ user: oauth2.userId }))
        app.get('/aware', { config: { oauth2: 'aware' } }, async ({ oauth2 }) => ({ user: oauth2.userId }))
        app.get('/scopes', { config: { oauth2: { scopes: ['files.read'] } } }, async ({ oauth2 }) => oauth2.scopes)
        app.get('/text', { config: { oauth2: { scopes: 'files.read openid' } } }, async ({ oauth2 }) => oauth2.scopes)
        app.get('/client', { config: { oauth2: { client: 'oauth2' } } }, ok)
        app.get('/false', { config: { oauth2: false } }, ok)
        app.get('/other', { config: { another: 'setting' } as object }, ok)
      },
    })
    expect((await browser.xhr(`${url}/aware`)).json()).toEqual({ user: null })
    for (const path of ['/true', '/scopes', '/text', '/client']) {
      const page = await browser.xhr(url + path)
      expect([path, page.status, page.json().code]).toEqual([path, 401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    }
    for (const path of ['/false', '/other']) expect((await browser.xhr(url + path)).json()).toEqual({ ok: true })
    expect((await browser.goto(`${url}/true`)).json()).toEqual({ user: 'sub-alice' })
    expect((await browser.xhr(`${url}/aware`)).json()).toEqual({ user: 'sub-alice' })
    expect((await browser.xhr(`${url}/scopes`)).json()).toMatchObject({ missingScopes: ['files.read'] })
    expect((await browser.goto(`${url}/scopes`)).json()).toEqual(['openid', 'email', 'files.read'])
    expect((await browser.xhr(`${url}/text`)).status).toBe(200)
    expect(provider.count('authorize')).toBe(2)
  })

  test('may be about one of several accounts', async () => {
    const { browser, url, provider } = await startApp({
      storage: memoryStore(),
      client: { userKey: () => 'the only one' },
      routes: (app) => {
        app.get('/bob', { config: { oauth2: { account: 'sub-bob' } } }, async ({ oauth2 }) => ({ user: oauth2.userId }))
        app.get('/another', { config: { oauth2: true } }, async ({ oauth2 }) =>
          oauth2.authorizeUrl('/bob', { account: 'new' }),
        )
      },
    })
    await browser.goto(`${url}/profile`)
    provider.user = 'bob'
    expect((await browser.goto(url + (await browser.xhr(`${url}/another`)).body)).json()).toEqual({ user: 'sub-bob' })
    expect((await browser.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  })
})

describe('where routes are declared', () => {
  test('K6: makes no difference within the context of the registration', async () => {
    const provider = await scriptedProvider()
    const seen: string[] = []
    const route = (app: FastifyInstance, path: string) =>
      app.get(path, guarded, async () => {
        seen.push(path)
        return {}
      })
    const { browser, url } = await serve((app) => {
      route(app, '/before')
      app.register(async (child) => {
        route(child, '/child-before')
        child.register(async (grandchild) => route(grandchild, '/grandchild-before'))
      })
      app.register(async (child) => route(child, '/prefixed-before'), { prefix: '/p' })
      app.register(oauth2Client, optionsFor(provider))
      route(app, '/after')
      app.after(() => route(app, '/loaded'))
      app.register(async (child) => route(child, '/child-after'))
      app.register(
        async (child) => {
          await child
          route(child, '/prefixed-after')
          child.route({ method: ['GET', 'POST'], url: '/full', ...guarded, handler: async () => seen.push('full') })
        },
        { prefix: '/p' },
      )
    })
    const paths = ['/before', '/child-before', '/grandchild-before', '/p/prefixed-before', '/after', '/loaded']
    paths.push('/child-after', '/p/prefixed-after', '/p/full')
    for (const path of paths) {
      expect([path, (await browser.step(url + path)).status]).toEqual([path, 302])
      expect([path, (await browser.xhr(url + path)).status]).toEqual([path, 401])
    }
    expect((await browser.xhr(`${url}/p/full`, { method: 'POST' })).status).toBe(401)
    expect(seen).toEqual([])
    for (const path of paths) expect([path, (await browser.goto(url + path)).status]).toEqual([path, 200])
    expect(seen).toHaveLength(paths.length)
  })

  test('outside of it, nothing is guarded', async () => {
    const provider = await scriptedProvider()
    const { browser, url } = await serve((app) => {
      app.register(async (child) => {
        child.register(oauth2Client, optionsFor(provider))
        child.get('/inside', guarded, ok)
      })
      app.get('/outside', guarded, ok)
      app.register(async (sibling) => sibling.get('/sibling', guarded, ok))
    })
    expect((await browser.xhr(`${url}/inside`)).status).toBe(401)
    for (const path of ['/outside', '/sibling']) expect((await browser.xhr(url + path)).json()).toEqual({ ok: true })
  })
})

test.each([
  ['onRequest', ['onRequest of the app']],
  ['preValidation', ['onRequest of the app', 'onRequest', 'preParsing', 'preValidation of the app']],
  [
    'preHandler',
    [
      'onRequest of the app',
      'onRequest',
      'preParsing',
      'preValidation of the app',
      'preValidation',
      'preHandler of the app',
    ],
  ],
] as const)('K6: hook %s decides what has run before', async (hook, before) => {
  const provider = await scriptedProvider()
  const ran: string[] = []
  const note = (name: string) => async () => void ran.push(name)
  const { browser, url } = await serve((app) => {
    for (const name of ['onRequest', 'preValidation', 'preHandler'] as const) {
      app.addHook(name as 'onRequest', note(`${name} of the app`))
    }
    app.register(oauth2Client, optionsFor(provider, { hook }))
    app.post(
      '/notes',
      {
        ...guarded,
        onRequest: note('onRequest'),
        preParsing: note('preParsing'),
        preValidation: note('preValidation'),
        preHandler: note('preHandler'),
      },
      ok,
    )
  })
  expect((await browser.xhr(`${url}/notes`, { method: 'POST', body: { a: 1 } })).status).toBe(401)
  expect(ran).toEqual(before)
})

describe('mistakes in config.oauth2', () => {
  const mistakes: [string, unknown][] = [
    ['another word', 'yes'],
    ['an empty word', ''],
    ['a number', 0],
    ['null', null],
    ['a list', ['files.read']],
    ['a form that is to be kept', { resume: true }],
    ['a misspelt member', { scope: 'files.read' }],
    ['a misspelt member for another client', { client: 'later', scope: 'files.read' }],
    ['something that is no scope', { scopes: ['two words'] }],
    ['scopes of another type', { scopes: 7 }],
    ['an empty client', { client: '' }],
    ['an account that is none', { account: 1 }],
  ]

  test.each(mistakes)('%s is an error when the route is declared', async (_name, oauth2) => {
    const provider = await scriptedProvider()
    const starting = serve((app) => {
      app.register(oauth2Client, optionsFor(provider))
      app.register(async (child) => child.get('/x', { config: { oauth2: oauth2 as GuardConfig } }, ok))
    })
    await expect(starting).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  })

  test.each([...mistakes, ['a client that is not there', { client: 'later' }] as const])(
    '%s closes a route that was declared before the plugin loaded',
    async (_name, oauth2) => {
      const provider = await scriptedProvider()
      let runs = 0
      const { browser, url } = await serve((app) => {
        app.get('/x', { config: { oauth2: oauth2 as GuardConfig } }, async () => ({ runs: ++runs }))
        app.register(oauth2Client, optionsFor(provider))
      })
      const page = await browser.xhr(`${url}/x`)
      expect([page.status, page.json().code]).toEqual([
        500,
        expect.stringMatching(/^FST_OAUTH2_(OPTION_INVALID|NOT_REGISTERED)$/),
      ])
      expect(runs).toBe(0)
    },
  )

  test('a client of the default name that is not there closes the route too', async () => {
    const provider = await scriptedProvider()
    const { browser, url } = await serve((app) => {
      app.register(oauth2Client, optionsFor(provider, { name: 'github' }))
      app.get('/true', guarded, ok)
      app.get('/aware', { config: { oauth2: 'aware' } }, ok)
      app.get('/github', { config: { oauth2: { client: 'github' } } }, ok)
    })
    for (const path of ['/true', '/aware']) {
      expect((await browser.xhr(url + path)).json()).toMatchObject({ code: 'FST_OAUTH2_NOT_REGISTERED' })
    }
    expect((await browser.xhr(`${url}/github`)).status).toBe(401)
  })
})
