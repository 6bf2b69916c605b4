import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { startApp } from '../helpers/app.js'
import { Browser, type HeaderOverrides } from '../helpers/browser.js'

/** A client from before Fetch Metadata: what it accepts is all that there is to go by. */
const OLD: HeaderOverrides = {
  'sec-fetch-mode': null,
  'sec-fetch-dest': null,
  'sec-fetch-user': null,
  'sec-fetch-site': null,
}

const DEPENDS_ON = [
  'accept',
  'sec-fetch-mode',
  'sec-fetch-dest',
  'sec-purpose',
  'purpose',
  'x-moz',
  'x-requested-with',
  'hx-request',
  'turbo-frame',
]

describe('who is redirected, and who is told', () => {
  const redirected: [string, HeaderOverrides][] = [
    ['a browser that goes to a page', {}],
    ['a browser that reloads, with a purpose that is none', { 'sec-purpose': '' }],
    ['an old browser', OLD],
    ['an old browser that accepts little else', { ...OLD, accept: 'TEXT/HTML;q=0.1' }],
    ['an old browser that would rather have something else', { ...OLD, accept: 'text/html;q=0.5, */*;q=0.4' }],
    ['an old browser with a parameter that ends like one that refuses', { ...OLD, accept: 'text/html;xq=0' }],
    ['an old browser with a charset', { ...OLD, accept: 'application/xml, text/html;charset=utf-8;q=0.9' }],
  ]
  const told: [string, HeaderOverrides][] = [
    ['a script', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['a script that accepts HTML', { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'empty', accept: 'text/html' }],
    ['a frame', { 'sec-fetch-dest': 'iframe' }],
    ['an image', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
    ['a mode without a destination', { 'sec-fetch-dest': null }],
    ['a destination without a mode', { 'sec-fetch-mode': null }],
    ['a websocket', { upgrade: 'websocket', connection: 'Upgrade' }],
    ['a websocket of an old browser', { ...OLD, upgrade: 'websocket', connection: 'Upgrade' }],
    ['jQuery', { 'x-requested-with': 'XMLHttpRequest' }],
    ['jQuery in an old browser', { ...OLD, 'x-requested-with': 'XMLHttpRequest' }],
    ['htmx', { ...OLD, 'hx-request': 'true' }],
    ['Turbo', { ...OLD, 'turbo-frame': 'messages' }],
    ['a prefetch', { 'sec-purpose': 'prefetch' }],
    ['a prerender', { 'sec-purpose': 'prefetch;prerender' }],
    ['a prefetch of an older Chromium', { purpose: 'prefetch' }],
    ['a preview of Safari', { 'x-purpose': 'preview', purpose: 'preview' }],
    ['a prefetch of Firefox', { ...OLD, 'x-moz': 'prefetch' }],
    ['a program that accepts anything', { ...OLD, accept: '*/*' }],
    ['a program that accepts any text', { ...OLD, accept: 'text/*' }],
    ['a program that says nothing', { ...OLD, accept: null }],
    ['a program that refuses HTML', { ...OLD, accept: 'application/json, text/html;q=0' }],
    ['a program that refuses HTML at length', { ...OLD, accept: 'text/html; q=0.000, */*' }],
    ['a program that refuses one level of HTML', { ...OLD, accept: 'text/html;level=1;q=0' }],
    ['a program with a similar type', { ...OLD, accept: 'text/html5, application/json' }],
  ]

  test('K5: by header', async () => {
    const { browser, url, provider } = await startApp()
    for (const [name, headers] of redirected) {
      const page = await browser.step(`${url}/profile`, { headers })
      expect([name, page.status]).toEqual([name, 302])
      expect([name, page.location]).toEqual([name, expect.stringContaining(`${provider.issuer}/authorize?`)])
    }
    for (const [name, headers] of told) {
      const page = await browser.step(`${url}/profile`, { headers })
      expect([name, page.status, page.location]).toEqual([name, 401, null])
      expect([name, page.json().code]).toEqual([name, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
      expect([name, page.headers.get('content-type')]).toEqual([name, 'application/json; charset=utf-8'])
    }
    expect(provider.count('authorize')).toBe(0)
  })

  test('D4, K5: by method: HEAD starts no flow, and a form is not replayed', async () => {
    const { browser, url } = await startApp({
      routes: (app) => {
        for (const method of ['PUT', 'DELETE', 'OPTIONS'] as const) {
          app.route({ method, url: '/notes', onRequest: requireOAuth(), handler: async () => ({}) })
        }
      },
    })
    const head = await browser.step(`${url}/profile`, { method: 'HEAD' })
    expect([head.status, head.body, head.headers.get('www-authenticate')]).toEqual([401, '', 'Bearer'])
    // It has the headers of the page that a person would see.
    expect(head.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(browser.cookies().filter(({ name }) => name.includes('flow'))).toEqual([])
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const page = await browser.step(`${url}/notes`, { method })
      expect([method, page.status, page.json().code]).toEqual([method, 401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    }
    await browser.goto(`${url}/profile`)
    const missing = await browser.step(`${url}/files`, { method: 'HEAD' })
    expect(missing.status).toBe(403)
    expect(missing.headers.get('www-authenticate')).toContain('insufficient_scope')
  })
})

describe('caches between us and the browser', () => {
  test('are told what every answer depends on', async () => {
    const { browser, url, provider, clock } = await startApp()
    const answers = [await browser.step(`${url}/profile`), await browser.xhr(`${url}/profile`)]
    await browser.goto(`${url}/profile`)
    answers.push(await browser.step(`${url}/files`), await browser.xhr(`${url}/files`))
    provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
    answers.push(await browser.goto(`${url}/files`))
    clock.advance(3_600_001)
    provider.tokenAnswer = () => ({ status: 503 })
    answers.push(await browser.step(`${url}/profile`))
    expect(answers.map(({ status }) => status)).toEqual([302, 401, 302, 403, 403, 503])
    for (const { status, headers } of answers) {
      const vary = (headers.get('vary') ?? '').toLowerCase().split(/,\s*/)
      expect([status, vary]).toEqual([status, expect.arrayContaining(DEPENDS_ON)])
      expect([status, headers.get('cache-control')]).toEqual([status, 'no-store'])
    }
  })

  test('are told nothing else', async () => {
    const { browser, url } = await startApp()
    const vary = (await browser.xhr(`${url}/profile`)).headers.get('vary')
    expect(vary?.toLowerCase().split(', ').sort()).toEqual([...DEPENDS_ON].sort())
  })

  test('still see the Vary that the app had set, once', async () => {
    const { browser, url } = await startApp({
      routes: (app) => {
        app.addHook('onRequest', async (request, reply) => {
          const { vary } = request.query as { vary?: string }
          if (vary) reply.header('vary', vary)
        })
      },
    })
    for (const ask of [browser.step.bind(browser), browser.xhr.bind(browser)]) {
      const vary = (await ask(`${url}/profile?vary=Origin,%20accept`)).headers.get('vary') ?? ''
      const names = vary.split(',').map((name) => name.trim())
      expect(names).toContain('Origin')
      expect(names.filter((name) => name.toLowerCase() === 'accept')).toHaveLength(1)
      for (const star of ['*', '%20*%20']) {
        expect((await ask(`${url}/profile?vary=${star}`)).headers.get('vary')?.trim()).toBe('*')
      }
    }
  })
})

describe('what people see', () => {
  test('is a small page that loads nothing, with a way on', async () => {
    const { browser, url, provider } = await startApp()
    await browser.goto(`${url}/profile`)
    provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
    const page = await browser.goto(`${url}/files?a=1&b="<script>`)
    expect(page.status).toBe(403)
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(page.headers.get('x-content-type-options')).toBe('nosniff')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe')
    expect(Buffer.byteLength(page.body)).toBeLessThan(4_096)
    expect(page.body).not.toMatch(/<script|<img|<link|src=|@import|url\(/)
    expect(page.body).toMatch(/<a class="way" href="\/oauth2authorize\?[^"<>]*return_url=[^"<>]*">/)
    expect(page.body).toContain('<html lang="en">')
  })

  test('cannot be made to run what a scope is called', async () => {
    const scope = `<img/onerror='x'>&amp;`
    const { browser, url, provider } = await startApp({
      routes: (app) => {
        app.get('/odd', { onRequest: requireOAuth([scope]) }, async () => ({}))
      },
    })
    await browser.goto(`${url}/profile`)
    provider.grant = (scopes) => scopes.filter((name) => name !== scope)
    const page = await browser.goto(`${url}/odd`)
    expect(page.status).toBe(403)
    expect(page.body).not.toContain('<img')
    expect(page.body).toContain('&#60;img/onerror=&#39;x&#39;&#62;&#38;amp;')
  })

  test('and what programs get holds no secret', async () => {
    const browser = new Browser()
    const { url, provider, clock } = await startApp()
    await browser.goto(`${url}/profile`)
    await browser.goto(`${url}/files`)
    provider.withdraw()
    clock.advance(3_600_001)
    provider.tokenAnswer = () => ({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'rt-canary-leaked' },
    })
    const page = await browser.xhr(`${url}/profile`)
    expect(page.status).toBe(401)
    expect(page.body).not.toContain('canary')
    provider.tokenAnswer = undefined
    provider.authorizeAnswer = ({ state }) => ({
      error: 'access_denied',
      error_description: 'canary-of-the-provider',
      state: String(state),
      iss: provider.issuer,
    })
    const denied = await browser.goto(`${url}/profile`)
    expect(denied.status).toBe(403)
    expect(denied.body).not.toContain('canary')
  })
})
