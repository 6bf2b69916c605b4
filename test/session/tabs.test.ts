import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { Gate } from '../helpers/hold.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

const LIMIT = 5

/** Flows of several tabs, each with a return URL of its own. */
async function openTabs(app: TestApp, count: number, parallel: boolean): Promise<{ callback: string; path: string }[]> {
  const open = async (tab: number) => {
    const path = `/?tab=${tab}`
    return { path, callback: (await begin(app, `/oauth2authorize?return_url=${encodeURIComponent(path)}`)).callback }
  }
  const tabs = [...Array(count).keys()]
  if (parallel) return Promise.all(tabs.map(open))
  const opened = []
  for (const tab of tabs) opened.push(await open(tab))
  return opened
}

describeEachSession((variant) => {
  const orders: [string, (n: number) => number[]][] = [
    ['in the order of opening', (n) => [...Array(n).keys()]],
    ['the other way round', (n) => [...Array(n).keys()].reverse()],
    ['in some order', (n) => [...Array(n).keys()].map((i) => (i * 3 + 1) % n)],
  ]
  const browsers: [string, boolean, (app: TestApp) => Promise<unknown>][] = [
    ['one after the other', false, async () => {}],
    ['at the same time, in a browser without a session', true, async () => {}],
    ['at the same time, in a browser with a session', true, ({ browser, url }) => browser.goto(`${url}/token`)],
    ['at the same time, by somebody signed in', true, ({ browser, url }) => browser.goto(`${url}/profile`)],
  ]
  for (const [opening, parallel, prepare] of browsers) {
    test.each(orders)(`A7: tabs opened ${opening}, finished %s`, async (_name, order) => {
      const app = await startApp({ variant })
      await prepare(app)
      const before = app.provider.count('token')
      const tabs = await openTabs(app, LIMIT, parallel)
      for (const index of order(LIMIT)) {
        const { callback, path } = tabs[index]!
        const page = await back(app, callback)
        expect([page.status, page.location]).toEqual([303, app.url + path])
      }
      expect(app.provider.count('token')).toBe(before + LIMIT)
      expect(flowCookies(app.browser)).toEqual([])
      expect((await app.browser.goto(`${app.url}/profile`)).chain).toHaveLength(1)
    })
  }

  test('A7: a tab whose start was overtaken by others does not spoil theirs', async () => {
    const gate = new Gate()
    const app = await startApp({
      variant,
      routes(server) {
        server.get('/mine', async ({ session }) => {
          ;(session as unknown as { set(key: string, value: number): void }).set('mine', 1)
          return 'mine'
        })
        // Its session was read before the others wrote theirs.
        server.get('/held', { onRequest: [() => gate.pass(), requireOAuth()] }, async () => 'held')
      },
    })
    await app.browser.goto(`${app.url}/mine`)
    const held = begin(app, '/held')
    await gate.arrived()
    const tabs = await openTabs(app, 2, false)
    gate.release()
    for (const { callback, path } of [...tabs, { ...(await held), path: '/held' }]) {
      const page = await back(app, callback)
      expect([page.status, page.location]).toEqual([303, app.url + path])
    }
  })

  test('A7: tabs that finish at the same moment all get back', async () => {
    const app = await startApp({ variant })
    const tabs = await openTabs(app, LIMIT, true)
    const held = app.provider.hold('token')
    const pages = tabs.map(({ callback }) => back(app, callback))
    await held.arrived(LIMIT)
    held.release()
    const locations = (await Promise.all(pages)).map(({ status, location }) => [status, location])
    expect(locations).toEqual(tabs.map(({ path }) => [303, app.url + path]))
    expect((await app.browser.goto(`${app.url}/profile`)).chain).toHaveLength(1)
  })
})

describe('how many flows a browser holds', () => {
  test.each([0, 1, 1_000])('A7: five; the oldest ones go (%i ms apart)', async (apart) => {
    const app = await startApp()
    const tabs = []
    for (let tab = 0; tab < LIMIT + 2; tab++) {
      tabs.push(await begin(app, `/oauth2authorize?return_url=/${tab}`))
      expect(flowCookies(app.browser).length).toBe(Math.min(tab + 1, LIMIT))
      app.clock.advance(apart)
    }
    const ends = []
    for (const { callback } of tabs) ends.push((await back(app, callback)).status)
    expect(ends).toEqual([400, 400, 303, 303, 303, 303, 303])
  })

  test('A7: 6 kB; the oldest ones go', async () => {
    const app = await startApp()
    const tabs = []
    for (let tab = 0; tab < LIMIT; tab++) {
      app.clock.advance(1_000)
      tabs.push(await begin(app, `/oauth2authorize?return_url=/${tab}${'x'.repeat(1_500)}`))
      const held = app.browser.cookies().filter(({ name }) => name.includes('.flow.'))
      expect(held.reduce((sum, { name, value }) => sum + name.length + value.length, 0)).toBeLessThan(6_400)
    }
    const last = await back(app, tabs.at(-1)!.callback)
    expect([last.status, last.location]).toEqual([303, `${app.url}/4${'x'.repeat(1_500)}`])
    expect(answer(await back(app, tabs[0]!.callback))[0]).toBe(400)
  })

  test('A7: cookies that are no flows of ours are neither counted nor cleared', async () => {
    const app = await startApp()
    for (let n = 0; n < 20; n++) app.browser.setCookie('localhost', { name: `app.flow.${n}`, value: 'x'.repeat(400) })
    const first = await begin(app, '/oauth2authorize?return_url=/first')
    const second = await app.browser.step(`${app.url}/oauth2authorize`)
    expect(ourCookies(second).map((cookie) => /oauth2client\.flow\.|Max-Age=0/.exec(cookie)?.[0])).toEqual([
      'oauth2client.flow.',
    ])
    expect((await back(app, first.callback)).location).toBe(`${app.url}/first`)
  })

  test.each([
    ['as long as may be', `/${'x'.repeat(2_047)}`],
    ['too long', `/${'x'.repeat(2_048)}`],
    ['long once it is encoded', `/${'ü'.repeat(2_000)}`],
  ])('F6: a return URL that is %s does not cost the flow', async (_name, path) => {
    const app = await startApp()
    const { callback } = await begin(app, `/oauth2authorize?${new URLSearchParams({ return_url: path })}`)
    const page = await back(app, callback)
    expect(page.status).toBe(303)
    const kept = path.length <= 2_048 && !path.includes('ü')
    expect(page.location).toBe(`${app.url}${kept ? path : '/'}`)
    expect(app.browser.rejectedCookies).toEqual([])
  })

  test('F6: many scopes do not cost the flow', async () => {
    const scopes = [...Array(40).keys()].map((i) => `https://api.example.com/auth/some.product.${i}`)
    const app = await startApp({ client: { scopes: ['openid', ...scopes] } })
    const page = await app.browser.goto(`${app.url}/profile?x=1`)
    expect(app.browser.rejectedCookies).toEqual([])
    expect([page.status, page.url]).toEqual([200, `${app.url}/profile?x=1`])
  })
})

describe('the cookies', () => {
  const attributes = (header: string) => header.split('; ').slice(1).sort()

  test('F5: over http to this machine they are plain, and for HTTP and us alone', async () => {
    const app = await startApp()
    const page = await app.browser.step(`${app.url}/oauth2authorize`)
    const [cookie, ...more] = ourCookies(page) as [string]
    expect(more).toEqual([])
    expect(cookie).toMatch(/^oauth2client\.flow\./)
    expect(attributes(cookie)).toEqual(['HttpOnly', 'Max-Age=600', 'Path=/', 'SameSite=Lax'])
    expect(app.browser.scriptCookies(app.url)).toBe('')
  })

  test('F5: with an https address they are __Host- cookies', async () => {
    const app = await startApp({ server: { trustProxy: true }, client: { baseUrl: 'https://app.example.com' } })
    const browser = new Browser({
      via: (url) =>
        url.hostname === 'app.example.com'
          ? { url: app.url + url.pathname + url.search, headers: { 'x-forwarded-proto': 'https' } }
          : undefined,
    })
    const page = await browser.step('https://app.example.com/profile')
    const [cookie] = ourCookies(page) as [string]
    expect(cookie).toMatch(/^__Host-oauth2client\.flow\./)
    expect(attributes(cookie)).toEqual(['HttpOnly', 'Max-Age=600', 'Path=/', 'SameSite=Lax', 'Secure'])
    const end = await browser.goto(page.location as string)
    expect([end.status, end.url]).toEqual([200, 'https://app.example.com/profile'])
    expect(browser.rejectedCookies).toEqual([])
    expect(browser.cookies('app.example.com').map(({ name }) => name)).toEqual(['sessionId'])
    // What a neighbour without the prefix plants is not looked at.
    const stolen = await begin({ ...app, url: 'https://app.example.com', browser }, '/files')
    const [name] = flowCookies(browser, 'app.example.com') as [string]
    const { value } = browser.cookies('app.example.com').find((held) => held.name === name) as { value: string }
    browser.deleteCookie('app.example.com', name)
    browser.setCookie('app.example.com', { name: name.replace('__Host-', ''), value, secure: true })
    expect((await browser.step(stolen.callback)).status).toBe(400)
  })

  test('they are gone after use, whatever the end', async () => {
    const app = await startApp()
    const done = await begin(app)
    const cleared = ourCookies(await back(app, done.callback)).filter((cookie) => cookie.includes('.flow.'))
    expect(cleared.map((cookie) => cookie.replace(/^[^=]*/, ''))).toEqual([
      '=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax',
    ])
    for (const params of [{ code: null, error: 'access_denied' }, { code: 'wrong' }]) {
      const { callback } = await begin(app)
      expect((await back(app, altered(callback, params))).status).toBeGreaterThanOrEqual(400)
      expect(flowCookies(app.browser)).toEqual([])
    }
    // What is left says for a minute how it ended, until it is seen to have worked.
    await app.browser.goto(`${app.url}/files`)
    expect(app.browser.cookies().map(({ name }) => name)).toEqual(['sessionId'])
  })

  test('nothing of a flow can be read in them', async () => {
    const app = await startApp()
    const { asked } = await begin(app, '/profile?private=thing')
    const text = app.browser
      .cookies()
      .map(({ value }) => Buffer.from(value, 'base64url').toString('latin1') + value)
      .join()
    for (const hidden of [asked.get('state'), asked.get('nonce'), 'private', 'alice'])
      expect(text).not.toContain(hidden)
  })
})
