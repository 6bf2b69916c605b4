/** Section K where guards stand: every way to reach a handler past one, and what a refusal may set off. */
import { connect as connectHttp2, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2'
import { describe, expect, onTestFinished, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { rawRequest } from '../helpers/raw.js'
import { describeEachSession, SlowSessionStore } from '../helpers/session-plugins.js'
import { answer, back, begin, flowCookies } from '../routes/flow.js'

const guard = requireOAuth()

describeEachSession((variant) => {
  test('K1: more is asked for with what there is; afterwards every route works, and lasting access stays', async () => {
    const app = await startApp({ variant })
    const { browser, url, provider, clock } = app
    expect((await browser.goto(`${url}/files`)).json().scopes).toEqual(['openid', 'email', 'files.read'])
    // Asked a second time, a provider may leave the refresh token out.
    provider.refreshTokenPolicy = 'never'
    const { asked, callback } = await begin(app, '/calendar')
    expect(asked.get('scope')).toBe('openid email files.read calendar.read')
    expect(asked.has('include_granted_scopes')).toBe(false)
    expect((await back(app, callback)).status).toBe(303)
    for (const path of ['/files', '/calendar', '/profile']) {
      expect((await browser.goto(url + path)).chain).toHaveLength(1)
    }
    clock.advance(3_601_000)
    expect((await browser.xhr(`${url}/files`)).status).toBe(200)
    expect(provider.count('token', 'refresh_token')).toBe(1)
  })

  test('K2: each scope that was declined ends in a page of its own, which asks only when it is told to', async () => {
    const { browser, url, provider } = await startApp({ variant })
    await browser.goto(`${url}/profile`)
    provider.grant = (scopes) => scopes.filter((scope) => !/\.read$/.test(scope))
    for (const path of ['/files', '/calendar', '/files', '/calendar']) {
      const page = await browser.goto(url + path)
      expect([path, ...answer(page)]).toEqual([path, 403, 'FST_OAUTH2_SCOPE_DECLINED'])
      expect(page.body).not.toMatch(/http-equiv|<script/)
    }
    expect(provider.count('authorize')).toBe(3)
    provider.grant = (scopes) => scopes
    const page = await browser.goto(`${url}/files`)
    const href = /<a class="way" href="([^"]+)"/.exec(page.body)?.[1]?.replaceAll('&#38;', '&') as string
    expect((await browser.goto(url + href, { from: page })).json().scopes).toContain('files.read')
  })

  test('K5: a WebSocket handshake, a HEAD request and a script get a 401, and no flow begins', async () => {
    const app = await startApp({
      variant,
      routes: (server) => server.head('/head', { onRequest: guard }, async () => 'in'),
    })
    const { browser, url, provider } = app
    const upgrade = [
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: eA==',
      'Sec-WebSocket-Version: 13',
    ]
    const host = `Host: ${new URL(url).host}`
    const handshake = await rawRequest(url, ['GET /profile HTTP/1.1', host, 'Accept: text/html', ...upgrade])
    const own = (handshake.headers.get('set-cookie') ?? []).filter((cookie) => cookie.includes('oauth2client.'))
    expect([handshake.status, handshake.headers.get('www-authenticate'), own]).toEqual([401, ['Bearer'], []])
    for (const path of ['/profile', '/head'])
      expect((await browser.step(url + path, { method: 'HEAD' })).status).toBe(401)
    const script = await browser.xhr(`${url}/profile`)
    expect([script.status, script.location, flowCookies(browser)]).toEqual([401, null, []])
    expect(script.json()).toMatchObject({
      code: 'FST_OAUTH2_CREDENTIALS_REQUIRED',
      authorizeUrl: expect.stringMatching(/^\/oauth2authorize\?ticket=/),
    })
    expect(provider.count('authorize')).toBe(0)
  })

  test('K7: what a page of a signed-out browser loads begins no flows', async () => {
    const store = new SlowSessionStore()
    const plugin = {
      ...variant,
      register: (app: Parameters<typeof variant.register>[0]) =>
        variant.register(app, { store, saveUninitialized: false }),
    }
    const { browser, url, provider } = await startApp({ variant: plugin })
    const dests = ['image', 'script', 'style', 'font', 'empty', 'iframe', 'video', 'track', 'manifest', 'image']
    const pages = dests.map((dest) =>
      browser.step(`${url}/profile`, {
        from: `${url}/`,
        headers: {
          'sec-fetch-dest': dest,
          'sec-fetch-mode': dest === 'iframe' ? 'navigate' : 'no-cors',
          accept: '*/*',
        },
      }),
    )
    for (const page of await Promise.all(pages)) expect([page.status, page.location]).toEqual([401, null])
    expect([flowCookies(browser), store.records.size, provider.count('authorize')]).toEqual([[], 0, 0])
    // Ten pages that are opened at once are ten flows; a browser keeps five.
    const tabs = Array.from({ length: 10 }, () => browser.step(`${url}/profile`))
    expect((await Promise.all(tabs)).map(({ status }) => status)).toEqual(Array(10).fill(302))
    await browser.step(`${url}/profile`)
    expect(flowCookies(browser).length).toBeLessThanOrEqual(5)
  })

  test('K8: no spelling of a path leads past its guard', async () => {
    const ran: string[] = []
    const app = await startApp({
      variant,
      server: {
        routerOptions: {
          caseSensitive: false,
          ignoreTrailingSlash: true,
          ignoreDuplicateSlashes: true,
        },
      },
      routes(server) {
        const note = async ({ url }: { url: string }) => {
          ran.push(url)
          return 'in'
        }
        server.get('/admin', { onRequest: guard }, note)
        server.get('/declared/panel', { config: { oauth2: true } }, note)
        server.get('/items/:name', { preHandler: guard }, note)
        server.register(
          async (child) => {
            child.addHook('onRequest', guard)
            child.get('/*', note)
          },
          { prefix: '/inside' },
        )
      },
    })
    const host = `Host: ${new URL(app.url).host}`
    const targets = [
      '/ADMIN',
      '/Admin/',
      '//admin',
      '/admin//',
      '/%61dmin',
      '/%41DMIN',
      '/admin?',
      '/admin?x',
      '/admin#x',
      '/admin;x=1',
      '/admin/.',
      '/./admin',
      '/public/../admin',
      '/%2e/admin',
      '/admin%2f',
      '/admin%00',
      '/admin%20',
      '/admin\\',
      '/Declared/Panel',
      '/declared%2fpanel',
      '/declared//panel/',
      '/items/a%2fb',
      '/items/..%2fadmin',
      '/items/%2e%2e',
      '/ITEMS/x',
      '/items/x;y',
      '/inside/x',
      '/INSIDE/..%2f..%2fadmin',
      '/inside//x',
      '/inside',
      '/inside/',
    ]
    const reached: string[] = []
    for (const target of targets) {
      const refused = await rawRequest(app.url, [`GET ${target} HTTP/1.1`, host, 'Accept: application/json'])
      expect([target, [401, 400, 404].includes(refused.status), ran]).toEqual([target, true, []])
      if (refused.status === 401) reached.push(target)
    }
    // Those that a guard stood before do lead somewhere, for somebody who may pass.
    await app.browser.goto(`${app.url}/profile`)
    const cookie = `Cookie: ${app.browser
      .cookies()
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')}`
    for (const target of reached) {
      const passed = await rawRequest(app.url, [`GET ${target} HTTP/1.1`, host, cookie])
      expect([target, passed.status]).toEqual([target, 200])
    }
    expect(ran).toHaveLength(reached.length)
    expect(reached.length).toBeGreaterThan(15)
  })

  test('K8: over HTTP/2 guards, flows and the way back are the same', async () => {
    let runs = 0
    // Without types for it: an HTTP/2 server is another kind of Fastify instance.
    const server = { http2: true } as object
    const app = await startApp({
      variant,
      server,
      routes: (instance) => instance.all('/guarded', { onRequest: guard }, async () => ({ runs: ++runs })),
    })
    const session = connectHttp2(app.url.replace('localhost', '127.0.0.1'))
    onTestFinished(() => void session.destroy())
    const cookies = new Map<string, string>()
    const ask = (path: string, headers: Record<string, string> = {}) =>
      new Promise<IncomingHttpHeaders & IncomingHttpStatusHeader>((resolve, reject) => {
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
        const stream = session.request({
          ':path': path,
          ':authority': new URL(app.url).host,
          accept: 'text/html',
          ...(cookie && { cookie }),
          ...headers,
        })
        stream.on('response', (response) => {
          for (const set of response['set-cookie'] ?? []) {
            const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
            if (/max-age=0/i.test(set)) cookies.delete(name)
            else cookies.set(name, value)
          }
          stream.resume().on('end', () => resolve(response))
        })
        stream.on('error', reject).end()
      })
    for (const headers of [
      { ':method': 'HEAD' },
      { ':method': 'POST' },
      { accept: 'application/json' },
      { 'sec-fetch-mode': 'cors' },
    ]) {
      expect((await ask('/guarded', headers as Record<string, string>))[':status']).toBe(401)
    }
    expect((await ask('/GUARDED'))[':status']).toBe(404)
    const begun = await ask('/guarded?x=a%2Fb')
    expect([begun[':status'], runs]).toEqual([302, 0])
    const { location } = await new Browser().step(String(begun.location))
    const callback = new URL(location as string)
    expect(callback.origin).toBe(app.url)
    expect((await ask('/oauth2callback?state=x&code=y'))[':status']).toBe(400)
    const done = await ask(callback.pathname + callback.search)
    expect([done[':status'], done.location]).toEqual([303, '/guarded?x=a%2Fb'])
    expect([(await ask(String(done.location)))[':status'], runs]).toEqual([200, 1])
  })
})

describe('K6: where guards stand', () => {
  async function guardedEverywhere(): Promise<TestApp & { ran: string[] }> {
    const ran: string[] = []
    const app = await startApp({
      routes(server) {
        server.register(
          async (child) => {
            child.addHook('onRequest', guard)
            child.setNotFoundHandler(async () => {
              ran.push('not found')
              return 'nothing'
            })
            child.get('/static/*', async () => {
              ran.push('static')
              return 'file'
            })
          },
          { prefix: '/area' },
        )
        server.setNotFoundHandler({ preHandler: guard }, async (_request, reply) => {
          ran.push('not found')
          return reply.code(404).send('nothing')
        })
        server.post('/upload', { onRequest: guard, bodyLimit: 1_000 }, async () => {
          ran.push('upload')
          return 'in'
        })
      },
    })
    return { ...app, ran }
  }

  test('K6: pages that do not exist and files are closed too, and lead back', async () => {
    const { browser, url, ran } = await guardedEverywhere()
    for (const path of ['/nowhere', '/area/nowhere', '/area/static/a.css', '/area/static/../static/a']) {
      expect([path, (await browser.step(url + path)).status, (await browser.xhr(url + path)).status]).toEqual([
        path,
        302,
        401,
      ])
    }
    expect(ran).toEqual([])
    const page = await browser.goto(`${url}/nowhere?x=1`)
    expect([page.status, page.url, page.body]).toEqual([404, `${url}/nowhere?x=1`, 'nothing'])
    expect((await browser.goto(`${url}/area/static/a.css`)).body).toBe('file')
  })

  test('K6: whoever may not pass gets no body parsed, and no hint of what it should have been', async () => {
    const { browser, url, ran } = await guardedEverywhere()
    const bodies: [string, string][] = [
      ['application/json', '{"broken'],
      ['application/json', `{"__proto__":{"x":1}}`],
      ['application/x-unknown', 'x'],
      ['application/json', JSON.stringify('x'.repeat(5_000))],
    ]
    for (const [type, body] of bodies) {
      const page = await browser.xhr(`${url}/upload`, { method: 'POST', body, headers: { 'content-type': type } })
      expect([type, page.status, page.json().code]).toEqual([type, 401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    }
    await browser.goto(`${url}/profile`)
    const page = await browser.xhr(`${url}/upload`, {
      method: 'POST',
      body: '{"broken',
      headers: { 'content-type': 'application/json' },
    })
    expect([page.status, ran]).toEqual([400, []])
  })
})

test('K4: an answer may separate scopes by commas, repeat and reorder them; their case matters', async () => {
  const { url, provider } = await startApp()
  const answered = [
    ['files.read,email,openid', 200],
    ['email,,files.read, openid,files.read', 200],
    [' files.read   openid email ', 200],
    ['openid email Files.Read', 403],
    ['openid email files.read.all xfiles.read', 403],
  ] as const
  for (const [scope, status] of answered) {
    provider.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, scope } })
    const page = await new Browser().goto(`${url}/files`)
    expect([scope, page.status]).toEqual([scope, status])
  }
})
