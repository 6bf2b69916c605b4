import { get, type IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { comparable, parseReturnUrl } from '../../src/session/return-url.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { elsewhere, expectOurs, kept } from '../helpers/return-urls.js'
import { back, begin } from '../routes/flow.js'

const avoiding = (...paths: string[]) => new Set(paths.map(comparable))

describe('parseReturnUrl', () => {
  test.each(elsewhere)('D1: %j is dropped', (value) => {
    expect(parseReturnUrl(value)).toBeUndefined()
  })

  test.each([[['/a', '/b']], [undefined], [null], [7], [{ toString: () => '/a' }], [['/a']]])(
    'D1: %j is no path',
    (value) => {
      expect(parseReturnUrl(value)).toBeUndefined()
    },
  )

  test.each(kept)('D1: %j is kept as %j', (value, expected) => {
    expect(parseReturnUrl(value)).toBe(expected)
    expectOurs(expected)
  })

  test.each([
    '/oauth2callback',
    '/oauth2callback/',
    '/OAuth2Callback?code=x',
    '/%6fauth2callback',
    '/a/../oauth2callback#x',
  ])('D2: %s leads back into a flow and is dropped', (value) => {
    expect(parseReturnUrl(value, avoiding('/oauth2authorize', '/oauth2callback'))).toBeUndefined()
    expect(parseReturnUrl('/oauth2callbacks', avoiding('/oauth2callback'))).toBe('/oauth2callbacks')
  })

  test('D2: paths that cannot be decoded are compared as they are written', () => {
    expect(parseReturnUrl('/100%', avoiding('/oauth2callback', '/50%'))).toBe('/100%')
    expect(parseReturnUrl('/Back%/', avoiding('/back%/'))).toBeUndefined()
  })

  const piece = fc.constantFrom(
    ...[
      '/',
      '\\',
      '//',
      '.',
      '..',
      '%2e',
      '%2f',
      '%5c',
      '%',
      '@',
      ':',
      '?',
      '#',
      '\t',
      '\n',
      '\r',
      ' ',
      '\0',
      '\u2028',
    ],
    ...['evil.example', 'https', 'javascript', 'a', 'ü', '\u3002', '\uff0f', '\u{1f600}', '\ud800', '[', ']', '%0d%0a'],
  )
  const hostile = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))

  test('D1: whatever comes in, what comes out is a path of ours, and stays what it is when parsed again', () => {
    const any = fc.oneof(
      hostile,
      hostile.map((rest) => `/${rest}`),
      fc.string(),
      fc.webUrl(),
      fc.anything(),
    )
    fc.assert(
      fc.property(any, (value) => {
        const parsed = parseReturnUrl(value)
        if (parsed === undefined) return
        expectOurs(parsed)
        // The route parses again what it sealed; only its length may then be too much.
        if (parsed.length <= 2_048) expect(parseReturnUrl(parsed)).toBe(parsed)
      }),
      { numRuns: 20_000 },
    )
  })
})

/** The Location that ends a flow which began with this query. */
async function locationFor(app: TestApp, query: string): Promise<string> {
  const browser = new Browser()
  const { callback } = await begin(app, `/oauth2authorize?${query}`, { browser })
  const page = await back(app, callback, { browser })
  expect(page.status).toBe(303)
  return page.headers.get('location') as string
}

/** A page asked for with a request target that no URL parser has tidied up. */
function rawGet({ url }: TestApp, path: string): Promise<IncomingMessage> {
  const { host, port } = new URL(url)
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers: { accept: 'text/html', host } })
      .on('response', (response) => resolve(response.resume()))
      .on('error', reject)
  })
}

describe('through the routes', () => {
  test('D1: everything that leads elsewhere ends at /', async () => {
    const app = await startApp()
    for (const value of elsewhere) {
      expect([value, await locationFor(app, new URLSearchParams({ return_url: value }).toString())]).toEqual([
        value,
        '/',
      ])
    }
  })

  test('D1: paths of ours are kept', async () => {
    const app = await startApp()
    for (const [value, expected] of kept) {
      expect(await locationFor(app, new URLSearchParams({ return_url: value }).toString())).toBe(expected)
    }
  })

  test.each([
    ['return_url=/%09/evil', '/'],
    ['return_url=%2F%2Fevil', '/'],
    ['return_url=/%5Cevil', '/'],
    ['return_url=%252F%252Fevil', '/'],
    ['return_url=/%252F%252Fevil', '/%2F%2Fevil'],
    ['return_url=/a&return_url=/b', '/'],
    ['return_url[]=/a', '/'],
    ['return_url=/a%0d%0aX:%20y', '/'],
    ['return_url=%ff', '/'],
    ['return_url=', '/'],
    ['return_to=/a&next=/b', '/'],
    ['return_url=/oauth2authorize?return_url=/oauth2authorize', '/'],
    ['return_url=/oauth2callback%3Fcode=x', '/'],
    ['return_url=/oauth2logout', '/'],
  ])('D1, D2: ?%s ends at %s', async (query, expected) => {
    expect(await locationFor(await startApp(), query)).toBe(expected)
  })

  test('D4: a guarded deep link comes back exactly as it was', async () => {
    const app = await startApp()
    const path = '/profile?x=1&y=a%26b&z=%E2%82%AC&x=2&//evil'
    const page = await app.browser.goto(app.url + path)
    expect([page.status, page.url]).toEqual([200, app.url + path])
  })

  test('D1: the path of a request is no less suspect than a parameter', async () => {
    const app = await startApp({
      routes: (server) => server.get('/*', { config: { oauth2: true } }, async () => 'in'),
    })
    for (const target of ['//evil.example/x', '/\\evil.example', '/.//evil.example', '/%09/evil.example']) {
      const browser = new Browser()
      const { headers } = await rawGet(app, target)
      for (const cookie of headers['set-cookie'] ?? []) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie) as unknown as [string, string, string]
        browser.setCookie('localhost', { name, value })
      }
      const { location } = await browser.step(headers.location as string)
      const page = await back(app, location as string, { browser })
      expect(page.status).toBe(303)
      expectOurs(page.headers.get('location') as string)
    }
  })

  test('D1: whatever a stranger puts into the link, people end up with us', async () => {
    const app = await startApp()
    const text = fc.array(
      fc.constantFrom(
        '/',
        '\\',
        '.',
        '..',
        '%2e',
        '%2f',
        '%5c',
        '@',
        ':',
        '\t',
        '\r\n',
        ' ',
        'evil.example',
        'https:',
        '?',
        '#',
      ),
      { maxLength: 8 },
    )
    await fc.assert(
      fc.asyncProperty(text, async (pieces) => {
        expectOurs(await locationFor(app, new URLSearchParams({ return_url: `/${pieces.join('')}` }).toString()))
      }),
      { numRuns: 60 },
    )
  })
})
