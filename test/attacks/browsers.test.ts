/** Section F: cookies that others plant, frames, and what is left behind in a browser. */
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser, type Page } from '../helpers/browser.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

/** The cookie header of a browser, as its neighbours would have it. */
function cookieHeader(browser: Browser): string {
  return browser
    .cookies()
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ')
}

describeEachSession((variant) => {
  test('F5: a cookie that a neighbour planted beside ours costs at most this flow', async () => {
    const app = await startApp({ variant })
    const first = await begin(app)
    await back(app, first.callback)
    const { callback } = await begin(app)
    const unknown = altered(callback, { code: 'none' })
    const ours = cookieHeader(app.browser)
    const [flow] = flowCookies(app.browser) as [string]
    const ended = app.browser.cookies().find(({ name }) => name.includes('.ended.'))?.name as string
    for (const name of [flow, ended, ended.replace('ended', 'elsewhere'), variant.cookieName]) {
      for (const value of ['planted', '', '%', '%ff', '"', '__proto__', 'x'.repeat(4_000), 'a.b.c.d']) {
        // Which of two comes first is decided by their paths and ages, which the neighbour chooses.
        for (const cookie of [`${name}=${value}; ${ours}`, `${ours}; ${name}=${value}`]) {
          const stranger = { browser: new Browser(), headers: { cookie } }
          // A flow that is found is answered by the provider, which does not know the code.
          expect([cookie, [400, 502].includes((await back(app, unknown, stranger)).status)]).toEqual([cookie, true])
          const page = await stranger.browser.step(`${app.url}/profile`, stranger)
          expect([cookie, [200, 302, 403].includes(page.status)]).toEqual([cookie, true])
        }
      }
    }
    expect(app.provider.count('token')).toBe(2)
  })

  test('F5: hundreds of cookies with names like ours are neither a crash nor a flow', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    const ours = cookieHeader(app.browser)
    const many = Array.from({ length: 200 }, (_, i) => `oauth2client.flow.zzzzzz${i}.abcdefghijkl=x`).join('; ')
    const odd = 'oauth2client.flow.=x; oauth2client.flow=x; oauth2client.flow.__proto__=x; __proto__=x; constructor=x'
    const page = await back(app, callback, { browser: new Browser(), headers: { cookie: `${odd}; ${ours}; ${many}` } })
    expect([page.status, page.location]).toEqual([303, `${app.url}/profile`])
    // Clearing them away takes a few requests, none of which is too large to be answered.
    const begun = await new Browser().step(`${app.url}/oauth2authorize`, { headers: { cookie: `${many}; ${odd}` } })
    expect(begun.status).toBe(302)
    expect(begun.headers.getSetCookie().join('').length).toBeLessThan(4_096)
  })

  test('F3, F4: nobody is sent from the callback back to the provider, whatever is missing', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    const ours = app.browser.cookies().map(({ name, value }) => [name, `${name}=${value}`] as const)
    const some = [[], ...ours.map(([name]) => ours.filter(([other]) => other !== name))]
    for (const cookies of some) {
      const headers = { cookie: cookies.map(([, cookie]) => cookie).join('; ') || null }
      const page = await new Browser().goto(callback, { from: app.provider.issuer, headers })
      expect([answer(page), page.chain.length]).toEqual([[400, 'FST_OAUTH2_STATE_INVALID'], 1])
      // The page offers another try, which nothing takes by itself.
      expect(page.body).not.toMatch(/http-equiv|<script|refresh/i)
    }
    expect(app.provider.count('token')).toBe(0)
    expect((await back(app, callback)).status).toBe(303)
  })

  test('F6: what is too large for a cookie is said where it is written, and what was there stays', async () => {
    const app = await startApp({ variant, storage: 'session' })
    const { browser, url, provider } = app
    await browser.goto(`${url}/profile`)
    provider.tokenAnswer = async (_params, defaults) => ({
      body: { ...(await defaults()).body, access_token: 'a'.repeat(6_000) },
    })
    const { callback } = await begin(app, '/files')
    const page = await back(app, callback)
    if (variant.kind === 'session') expect(page.status).toBe(303)
    else expect(answer(page)).toEqual([500, 'FST_OAUTH2_SESSION_TOO_LARGE'])
    expect(browser.rejectedCookies).toEqual([])
    for (const cookie of browser.cookies()) expect(cookie.name.length + cookie.value.length).toBeLessThan(4_096)
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  })
})

describe('frames, referrers and what is left behind', () => {
  /** Every kind of page that we write ourselves. */
  async function everyPage(app: TestApp): Promise<[string, Page][]> {
    const { browser, url, provider } = app
    const pages: [string, Page][] = []
    pages.push(['authorize', await browser.goto(`${url}/oauth2authorize?scope=undeclared`)])
    pages.push(['callback', await browser.goto(`${url}/oauth2callback?state=x&code=y`)])
    const { callback } = await begin(app, '/profile')
    pages.push(['denied', await back(app, altered(callback, { code: null, error: 'access_denied' }))])
    pages.push(['guard', await browser.goto(`${url}/profile`)])
    const person = new Browser()
    const users = await startApp({
      provider,
      storage: memoryStore(),
      client: { userKey: () => 'u1', scopes: ['openid', 'email'] },
    })
    const link = await person.goto(`${users.url}/oauth2authorize`, { from: 'https://evil.example/' })
    pages.push(['confirmation', link])
    return pages
  }

  test('F7: no page of ours can be framed, runs anything, or tells where it was', async () => {
    for (const [name, page] of await everyPage(await startApp())) {
      const policy = page.headers.get('content-security-policy') ?? ''
      expect([name, page.status >= 400]).toEqual([name, true])
      expect([name, page.headers.get('content-type')]).toEqual([name, 'text/html; charset=utf-8'])
      expect([name, page.headers.get('x-frame-options'), policy.includes("frame-ancestors 'none'")]).toEqual([
        name,
        'DENY',
        true,
      ])
      expect([name, policy.includes("default-src 'none'"), /unsafe|https?:|\*/.test(policy)]).toEqual([
        name,
        true,
        false,
      ])
      expect([name, page.headers.get('referrer-policy'), page.headers.get('cache-control')]).toEqual([
        name,
        'no-referrer',
        'no-store',
      ])
      expect([name, page.headers.get('x-content-type-options')]).toEqual([name, 'nosniff'])
      expect(page.body).not.toMatch(/<script|<img|<link|<iframe|src=|url\(|https?:\/\//)
    }
  })

  test('F8: the callback redirects at once, shows nothing, and leaves the code in no log', async () => {
    const app = await startApp()
    const { callback, asked } = await begin(app, '/profile')
    const page = await back(app, callback)
    expect([page.status, page.body, page.headers.get('location')]).toEqual([303, '', '/profile'])
    expect([page.headers.get('cache-control'), page.headers.get('referrer-policy')]).toEqual([
      'no-store',
      'no-referrer',
    ])
    for (const path of ['/oauth2callback/', '/OAUTH2CALLBACK', '/oauth2callback']) {
      await app.browser.step(callback.replace('/oauth2callback', path), { method: 'DELETE' })
    }
    const code = new URL(callback).searchParams.get('code') as string
    const log = app.logs.lines.filter(
      (line) => !line.includes('/oauth2callback/?') && !line.includes('/OAUTH2CALLBACK?'),
    )
    expect(log.join('')).toContain('/oauth2callback?…')
    for (const secret of [code, asked.get('state') as string]) expect(log.join('')).not.toContain(secret)
  })

  test('F5: none of our cookies is for scripts, for other hosts, or longer-lived than what it is about', async () => {
    const app = await startApp({ variant: sessionVariants[0] as SessionVariant })
    const begun = await app.browser.step(`${app.url}/profile`)
    const callback = (await app.browser.step(begun.location as string)).location as string
    const done = await back(app, altered(callback, {}))
    const cookies = [...ourCookies(begun), ...ourCookies(done)]
    expect(cookies.length).toBeGreaterThan(2)
    for (const cookie of cookies) {
      expect(cookie).toMatch(/; HttpOnly/)
      expect(cookie).toMatch(/; Path=\/(;|$)/)
      expect(cookie).toMatch(/; SameSite=Lax/)
      expect(cookie).not.toMatch(/Domain/i)
      expect(Number(/Max-Age=(\d+)/.exec(cookie)?.[1])).toBeLessThanOrEqual(600)
    }
  })
})
