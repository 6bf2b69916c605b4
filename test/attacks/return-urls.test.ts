/** Section D over the ways in and out that a return URL has besides the authorize route, which `session/return-url` has. */
import { expect, test } from 'vitest'
import { KeyRing } from '../../src/keys/key-ring.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { rawRequest } from '../helpers/raw.js'
import { elsewhere, expectOurs, kept } from '../helpers/return-urls.js'
import { describeEachSession, type SessionVariant } from '../helpers/session-plugins.js'
import { back, begin, flowCookies } from '../routes/flow.js'

const KEY = 'the key that seals flows, long enough'

/** The Location of a callback whose flow was sealed with this return URL, as no authorize route would have. */
async function locationOfSealed(app: TestApp, returnUrl: unknown): Promise<string | null> {
  const { callback } = await begin(app, '/oauth2authorize?return_url=/there')
  const [name] = flowCookies(app.browser) as [string]
  const { value } = app.browser.cookies().find((cookie) => cookie.name === name) as { value: string }
  const keys = new KeyRing([KEY])
  const flow = JSON.parse(await keys.open('flow', [], value))
  expect(flow.returnUrl).toBe('/there')
  const changed = await keys.seal('flow', [], JSON.stringify({ ...flow, returnUrl }))
  app.browser.setCookie('localhost', { name, value: changed })
  const page = await back(app, callback)
  expect(page.status).toBe(303)
  return page.headers.get('location')
}

describeEachSession((variant: SessionVariant) => {
  test('D1: what a flow carries is checked again where it is used', async () => {
    const app = await startApp({ variant, client: { encryptionKeys: KEY } })
    for (const value of [...elsewhere, ['/a', '/b'], 7, null, '/oauth2authorize', '/oauth2callback?code=x']) {
      // What makes a cookie larger than browsers keep was cut when it was sealed.
      if (String(value).length > 2_000) continue
      expect([value, await locationOfSealed(app, value)]).toEqual([value, '/'])
    }
    for (const [value, expected] of kept) expect(await locationOfSealed(app, value)).toBe(expected)
  })

  test('D1: a callback that is opened again leads no further than the first one did', async () => {
    const app = await startApp({ variant })
    for (const value of ['//evil.example', '/..//evil.example', '/fine?x=1']) {
      const { callback } = await begin(app, `/oauth2authorize?${new URLSearchParams({ return_url: value })}`)
      const first = (await back(app, callback)).headers.get('location')
      expect([(await back(app, callback)).headers.get('location'), first]).toEqual([first, first])
      expectOurs(first as string)
    }
  })

  test('D1: the form that signs out leads to a path of ours too', async () => {
    const app = await startApp({
      variant,
      routes: (server) => server.get('/token', async ({ oauth2 }) => (await oauth2.load()).xsrfToken),
    })
    const { browser, url } = app
    const leave = async (returnUrl: string) => {
      const token = (await browser.xhr(`${url}/token`)).body
      const body = new URLSearchParams({ _csrf: token, return_url: returnUrl })
      const page = await browser.xhr(`${url}/oauth2logout`, { method: 'POST', body, headers: { accept: 'text/html' } })
      return [page.status, page.headers.get('location')]
    }
    await browser.goto(`${url}/profile`)
    for (const value of [...elsewhere, '/oauth2logout', '/oauth2authorize']) {
      expect([value, ...(await leave(value))]).toEqual([value, 303, '/'])
    }
    expect(await leave('/bye?x=1')).toEqual([303, '/bye?x=1'])
  })

  test('D4: a form that is posted without credentials keeps its status, and is never posted by anybody else', async () => {
    let saved = 0
    const app = await startApp({
      variant,
      routes(server) {
        server.post('/entries', { config: { oauth2: true } }, async () => {
          saved += 1
          return 'saved'
        })
      },
    })
    const { browser, url, provider } = app
    const page = await browser.step(`${url}/entries?draft=1`, { method: 'POST' })
    expect([page.status, page.location]).toEqual([401, null])
    expect(flowCookies(browser)).toEqual([])
    const program = await browser.xhr(`${url}/entries`, { method: 'POST', body: { secret: 'text' } })
    expect(program.status).toBe(401)
    expect(program.body).not.toContain('text')
    await browser.goto(`${url}/oauth2authorize`)
    expect([saved, provider.count('authorize')]).toEqual([0, 1])
    // Enough to sign in, and not enough for this: a 403, and again nothing is begun.
    const missing = await browser.xhr(`${url}/files`)
    expect([missing.status, flowCookies(browser)]).toEqual([403, []])
  })
})

test('D1: a link that programs are told of takes a return URL, and the same care', async () => {
  const app = await startApp()
  const { authorizeUrl } = (await app.browser.xhr(`${app.url}/files`)).json()
  for (const [value, expected] of [
    ['//evil.example', '/'],
    ['https://evil.example', '/'],
    ['/files?x=1', '/files?x=1'],
  ] as const) {
    const { callback } = await begin(app, `${authorizeUrl}&${new URLSearchParams({ return_url: value })}`)
    expect((await back(app, callback)).headers.get('location')).toBe(expected)
  }
})

test('D3: the referrer decides nothing, on any way in', async () => {
  const app = await startApp()
  for (const path of ['/oauth2authorize', '/profile']) {
    for (const referer of ['https://evil.example/', `${app.url}/from-here`, '//evil.example', '']) {
      const browser = new Browser({ headers: { referer } })
      const { callback } = await begin(app, path, { browser })
      const page = await back(app, callback, { browser })
      expect(page.headers.get('location')).toBe(path === '/profile' ? path : '/')
    }
  }
})

test('D5: nothing that a header cannot hold reaches one, whether it comes as a parameter or as a path', async () => {
  const app = await startApp({
    routes: (server) => server.get('/*', { config: { oauth2: true } }, async () => 'in'),
  })
  const breaks = ['\r\nX-Evil: 1', '\n', '\r', '\0', '\u2028', '\u2029', '\u0085', '\u007f', '\ud800', '\u{1f600}']
  for (const text of breaks) {
    for (const path of [
      `/oauth2authorize?${new URLSearchParams({ return_url: `/a${text}b` })}`,
      `/a${encodeURIComponent(text.replace('\ud800', '\ufffd'))}b`,
    ]) {
      const browser = new Browser()
      const { callback } = await begin(app, path, { browser })
      const page = await back(app, callback, { browser })
      expect([text, page.status, page.headers.get('x-evil')]).toEqual([text, 303, null])
      expectOurs(page.headers.get('location') as string)
    }
  }
  // Bytes that no browser sends in a request line, and Node lets through.
  for (const target of ['/a\x80\xff', '/\xe2\x80\xa8']) {
    const answer = await rawRequest(app.url, [
      `GET ${target} HTTP/1.1`,
      `Host: ${new URL(app.url).host}`,
      'Accept: text/html',
    ])
    expect([302, 400, 404]).toContain(answer.status)
  }
})
