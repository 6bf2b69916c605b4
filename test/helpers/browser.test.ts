import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { Browser } from './browser.js'

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** A server that answers by path; `/echo` shows what came. */
async function serve(routes: Record<string, Handler>): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const path = (request.url ?? '').split('?')[0]!
    if (path === '/echo') {
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }))
    } else (routes[path] ?? ((_, r) => r.writeHead(404).end()))(request, response, body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return `http://localhost:${(server.address() as { port: number }).port}`
}

const redirect =
  (location: string, status = 302, cookies: string[] = []): Handler =>
  (_, response) =>
    response.writeHead(status, { location, 'set-cookie': cookies }).end()

const cookies =
  (...set: string[]): Handler =>
  (_, response) =>
    response.setHeader('set-cookie', set).end()

const html =
  (page: string, headers: Record<string, string> = {}): Handler =>
  (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html', ...headers }).end(page)

describe('navigations', () => {
  it('follows redirects across ports, keeps cookies and says so in Sec-Fetch headers', async () => {
    const other = await serve({})
    const app = await serve({
      '/start': redirect('/next', 302, ['a=1; HttpOnly; SameSite=Lax']),
      '/next': redirect(`${other}/echo`),
    })
    const browser = new Browser()
    const page = await browser.goto(`${app}/start`)

    expect(page.chain).toEqual([
      { url: `${app}/start`, status: 302, location: `${app}/next` },
      { url: `${app}/next`, status: 302, location: `${other}/echo` },
      { url: `${other}/echo`, status: 200, location: null },
    ])
    expect(page.json().headers).toMatchObject({
      cookie: 'a=1',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'sec-fetch-site': 'none',
      accept: expect.stringContaining('text/html'),
    })
    expect(browser.cookies()).toMatchObject([{ name: 'a', httpOnly: true, sameSite: 'lax' }])
    expect(browser.scriptCookies(app)).toBe('')
    expect(browser.received()).toContain('a=1; HttpOnly')
  })

  it('shows loops, stops where told and takes single steps', async () => {
    const app = await serve({ '/a': redirect('/b'), '/b': redirect('/a') })
    const browser = new Browser()
    await expect(browser.goto(`${app}/a`)).rejects.toThrow(/more than 20 redirects:\n {2}302 .*\/a -> .*\/b/)
    expect(await browser.step(`${app}/a`)).toMatchObject({ status: 302, location: `${app}/b` })
    const stopped = await browser.goto(`${app}/a`, { stopAt: ({ pathname }) => pathname === '/a' })
    expect(stopped).toMatchObject({ url: `${app}/b`, location: `${app}/a` })
  })

  it('tells sites apart and withholds SameSite cookies from foreign ones', async () => {
    const app = await serve({
      '/set': cookies('strict=1; SameSite=Strict', 'lax=1', 'none=1; SameSite=None; Secure'),
    })
    const browser = new Browser()
    await browser.goto(`${app}/set`)
    const seen = async (from: string) => (await browser.goto(`${app}/echo`, { from })).json().headers

    expect(await seen(app)).toMatchObject({ 'sec-fetch-site': 'same-origin', cookie: 'strict=1; lax=1; none=1' })
    expect(await seen('http://localhost:1')).toMatchObject({ 'sec-fetch-site': 'same-site' })
    expect(await seen('https://evil.example')).toMatchObject({
      'sec-fetch-site': 'cross-site',
      cookie: 'lax=1; none=1',
    })
    const xhr = await browser.xhr(`${app}/echo`, { method: 'POST', from: 'https://evil.example', body: { a: 1 } })
    expect(xhr.json()).toMatchObject({
      body: '{"a":1}',
      headers: { cookie: 'none=1', origin: 'https://evil.example', 'sec-fetch-mode': 'cors' },
    })
  })

  it('goes through a proxy that ends TLS', async () => {
    const app = await serve({ '/set': cookies('__Host-a=1; Secure; Path=/') })
    const browser = new Browser({
      via: ({ pathname }) => ({ url: app + pathname, headers: { 'x-forwarded-proto': 'https' } }),
    })
    await browser.goto('https://app.example.com/set')
    const { headers } = (await browser.goto('https://app.example.com/echo')).json()
    expect(headers).toMatchObject({ host: 'app.example.com', 'x-forwarded-proto': 'https', cookie: '__Host-a=1' })
    await expect(new Browser().goto('https://app.example.com/')).rejects.toThrow('only http to this machine')
  })

  it('says so when an answer does not come', async () => {
    const app = await serve({ '/never': () => {}, '/cut': (request) => request.socket.destroy() })
    const browser = new Browser({ timeout: 50 })
    await expect(browser.goto(`${app}/never`)).rejects.toThrow('no answer within 50 ms')
    await expect(browser.goto(`${app}/cut`)).rejects.toThrow('/cut failed')
  })
})

describe('cookies', () => {
  it('are kept by host, path and lifetime', async () => {
    let now = Date.now()
    const app = await serve({
      '/set': cookies('deep=1; Path=/echo', 'wide=1', 'other=1; Path=/ech', 'short=1; Path=/; Max-Age=60'),
      '/unset': cookies('wide=; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'deep=; Max-Age=0; Path=/echo'),
    })
    const browser = new Browser({ clock: () => now })
    const sent = async () => (await browser.xhr(`${app}/echo`)).json().headers.cookie
    await browser.goto(`${app}/set`)
    expect(await sent()).toBe('deep=1; wide=1; short=1')
    const thief = browser.clone()
    await browser.goto(`${app}/unset`)
    expect(await sent()).toBe('short=1')
    now += 60_000
    expect(await sent()).toBeUndefined()
    expect(thief.cookies().map(({ name }) => name)).toEqual(['deep', 'wide', 'other'])
    expect(thief.cookies('127.0.0.1')).toEqual([])
  })

  it('can be planted and deleted', async () => {
    const app = await serve({})
    const browser = new Browser()
    browser.setCookie('localhost', { name: 'planted', value: 'x' })
    expect((await browser.xhr(`${app}/echo`)).json().headers.cookie).toBe('planted=x')
    browser.deleteCookie('localhost', 'planted')
    expect((await browser.xhr(`${app}/echo`)).json().headers.cookie).toBeUndefined()
  })

  it('that browsers drop are dropped, with the reason', async () => {
    const app = await serve({
      '/set': cookies(
        `big=${'x'.repeat(4094)}`,
        '__Host-a=1; Path=/',
        '__Host-b=1; Secure; Path=/deep',
        'c=1; Domain=example.com',
        'd=1; SameSite=None',
        '__Host-fine=1; Secure; Path=/',
      ),
    })
    const browser = new Browser()
    await browser.goto(`${app}/set`)
    expect(browser.cookies().map(({ name }) => name)).toEqual(['__Host-fine'])
    expect(browser.rejectedCookies.map(({ reason }) => reason)).toEqual([
      'larger than 4096 bytes',
      '__Host- needs Secure, Path=/ and no Domain',
      '__Host- needs Secure, Path=/ and no Domain',
      'Domain of another host',
      'SameSite=None without Secure',
    ])
  })
})

describe('forms', () => {
  const form = `<!-- <form></form> --><form method="post" action="/post?a=1&amp;b=2">
    <input type="hidden" name="_csrf" value="&quot;t&quot;"><input name=text value='v'>
    <input type="checkbox" name="scope" value="one" checked><input type="checkbox" name="scope" value="two" checked>
    <input type="checkbox" name="off"><input name="gone" value="1" disabled><textarea name="note">a &lt; b</textarea>
    <select name="s"><option value="1">One</option><option selected>Two</option></select>
    <button name="go" value="yes">Go on</button><button name="go" value="no">Refuse</button></form>`

  it('are sent as they are', async () => {
    const app = await serve({ '/': html(form), '/post': redirect('/echo', 307) })
    const browser = new Browser()
    const page = await browser.goto(`${app}/`)
    const { method, headers, body } = (await browser.submit(page)).json()
    expect([...new URLSearchParams(body)]).toEqual([
      ['_csrf', '"t"'],
      ['text', 'v'],
      ['scope', 'one'],
      ['scope', 'two'],
      ['note', 'a < b'],
      ['s', 'Two'],
      ['go', 'yes'],
    ])
    expect(method).toBe('POST')
    expect(headers).toMatchObject({ origin: app, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' })
    expect(browser.log.map(({ url }) => url)).toContain(`${app}/post?a=1&b=2`)
  })

  it('are sent as the person changed them, and redirects become GET', async () => {
    const posted: string[] = []
    const app = await serve({
      '/': html(form, { 'referrer-policy': 'no-referrer' }),
      '/post': (request, response, body) => {
        posted.push(request.headers.origin!, body)
        response.writeHead(303, { location: '/echo' }).end()
      },
    })
    const browser = new Browser()
    const page = await browser.goto(`${app}/`)
    const overrides = { scope: ['two'], off: true, text: null, _csrf: 'other', extra: 'x' }
    const after = (await browser.submit(page, 0, overrides, { button: 'Refuse' })).json()
    expect(posted).toEqual(['null', '_csrf=other&scope=two&off=on&note=a+%3C+b&s=Two&extra=x&go=no'])
    expect(after).toMatchObject({ method: 'GET', body: '' })
    expect(after.headers.origin).toBeUndefined()
    await expect(browser.submit(page, 1)).rejects.toThrow('no form 1')
  })
})
