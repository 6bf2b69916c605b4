/** Section A over every session plugin; what does not depend on one is in `routes/callback` and `session/tabs`. */
import { expect, test } from 'vitest'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { rawRequest } from '../helpers/raw.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

/** What a refusal is: no request, nobody signed in, nothing cached or told, and a way to start again. */
async function expectRefused(app: TestApp, callback: string, browser = app.browser): Promise<void> {
  const before = app.provider.count('token')
  const user = (await browser.goto(`${app.url}/`)).json()
  const page = await back(app, callback, { browser })
  expect(answer(page)).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
  expect([page.headers.get('cache-control'), page.headers.get('referrer-policy')]).toEqual(['no-store', 'no-referrer'])
  expect(page.body).toContain('href="/oauth2authorize')
  for (const name of ['code', 'state']) {
    const value = new URL(callback).searchParams.get(name)
    if (value && value.length > 8)
      expect([page.body.includes(value), app.logs.text().includes(value)]).toEqual([false, false])
  }
  expect(app.provider.count('token')).toBe(before)
  expect((await browser.goto(`${app.url}/`)).json()).toEqual(user)
}

describeEachSession((variant) => {
  test('A1, A2: a callback is good in the browser that began its flow, and nowhere else', async () => {
    const app = await startApp({ variant })
    const mine = await begin(app, '/oauth2authorize?return_url=/mine')
    const bare = new Browser()
    const other = new Browser()
    const signedIn = new Browser()
    await signedIn.goto(`${app.url}/profile`)
    const theirs = await begin(app, '/oauth2authorize?return_url=/theirs', { browser: other })
    for (const browser of [bare, other, signedIn]) await expectRefused(app, mine.callback, browser)
    await expectRefused(app, theirs.callback)
    expect((await back(app, mine.callback)).location).toBe(`${app.url}/mine`)
    expect((await back(app, theirs.callback, { browser: other })).location).toBe(`${app.url}/theirs`)
  })

  test('A1: the flow cookie alone, without the session that began it, is not enough', async () => {
    const app = await startApp({ variant })
    // An hour old: no tab that was opened at the same time can have replaced it.
    await app.browser.goto(`${app.url}/profile`)
    app.clock.advance(3_600_000)
    const { callback } = await begin(app)
    const thief = new Browser()
    await thief.goto(`${app.url}/profile`)
    for (const cookie of app.browser.cookies()) {
      if (cookie.name.includes('.flow.')) thief.setCookie('localhost', cookie)
    }
    await expectRefused(app, callback, thief)
    expect((await back(app, callback)).status).toBe(303)
  })

  test('A1: nor is the cookie of a flow that has just begun, in a browser without any session', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app, '/profile')
    const thief = new Browser()
    for (const cookie of app.browser.cookies()) {
      if (cookie.name.includes('.flow.')) thief.setCookie('localhost', cookie)
    }
    await expectRefused(app, callback, thief)
    expect(app.logs.text()).toContain('the callback came without the session that began the flow')
    expect((await back(app, callback)).location).toBe(`${app.url}/profile`)
  })

  test('A3: a state that is not exactly the one that was sent is refused, and uses nothing up', async () => {
    const app = await startApp({ variant })
    const { callback, asked } = await begin(app, '/oauth2authorize?return_url=/there')
    const state = asked.get('state') as string
    const swapped = state.replace(/[a-z]/gi, (c) => (c > 'Z' ? c.toUpperCase() : c.toLowerCase()))
    const twice = [...state].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('')
    const wrong = [
      null,
      '',
      `${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`,
      swapped,
      twice,
      ` ${state}`,
      `${state}=`,
    ]
    for (const value of wrong) await expectRefused(app, altered(callback, { state: value }))
    // Encoded once it is the same state.
    const once = callback.replace(`state=${state}`, `state=${twice}`)
    expect((await back(app, once)).location).toBe(`${app.url}/there`)
  })

  test('A6, A16: a flow that is too old or was tampered with is refused, in a browser that forgets nothing', async () => {
    const app = await startApp({ variant })
    const late = await begin(app)
    app.clock.advance(600_000)
    await expectRefused(app, late.callback)
    const { callback } = await begin(app)
    const name = flowCookies(app.browser).at(-1) as string
    const { value } = app.browser.cookies().find((cookie) => cookie.name === name) as { value: string }
    const middle = Math.floor(value.length / 2)
    const flipped = value.slice(0, middle) + (value[middle] === 'A' ? 'B' : 'A') + value.slice(middle + 1)
    for (const bad of [flipped, value.slice(0, middle), '%00', `"${flipped}"`, '{"state":"x"}']) {
      app.browser.setCookie('localhost', { name, value: bad })
      await expectRefused(app, callback)
    }
    app.browser.setCookie('localhost', { name, value })
    expect((await back(app, callback)).status).toBe(303)
  })

  test('A3, A16: a flow under the name of another state answers neither state', async () => {
    const app = await startApp({ variant })
    const one = await begin(app, '/oauth2authorize?return_url=/one')
    const [nameOfOne] = flowCookies(app.browser) as [string]
    const two = await begin(app, '/oauth2authorize?return_url=/two')
    const nameOfTwo = flowCookies(app.browser).find((name) => name !== nameOfOne) as string
    const sealedUnder = (wanted: string) => app.browser.cookies().find(({ name }) => name === wanted)?.value as string
    const [first, second] = [sealedUnder(nameOfOne), sealedUnder(nameOfTwo)]
    app.browser.setCookie('localhost', { name: nameOfOne, value: second })
    app.browser.setCookie('localhost', { name: nameOfTwo, value: first })
    for (const { callback } of [one, two]) await expectRefused(app, callback)
    app.browser.setCookie('localhost', { name: nameOfOne, value: first })
    expect((await back(app, one.callback)).location).toBe(`${app.url}/one`)
  })

  test('A9: parameters that come twice are refused before anything else is looked at', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app)
    for (const name of ['state', 'code', 'iss', 'error', 'error_description', 'error_uri', 'session_state']) {
      await expectRefused(app, `${callback}&${name}=1&${name}=2`)
    }
    expect((await back(app, callback)).status).toBe(303)
  })

  test('A13: no other method than GET uses a flow up or begins one', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app)
    for (const method of ['HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE']) {
      for (const target of [callback, `${app.url}/oauth2authorize`]) {
        const page = await app.browser.step(target, { method })
        expect([method, [404, 405].includes(page.status), page.location]).toEqual([method, true, null])
      }
    }
    expect([app.provider.count('token'), flowCookies(app.browser).length]).toEqual([0, 1])
    expect((await back(app, callback)).status).toBe(303)
  })

  test('N9: a flow that one person began is not finished by the next one in the same browser', async () => {
    const app = await startApp({ variant })
    const { browser, url, provider, clock } = app
    await browser.goto(`${url}/profile`)
    clock.advance(60_000)
    const ofAlice = await begin(app, '/files')
    // Meanwhile, in another tab.
    provider.user = 'bob'
    await browser.goto(`${url}/oauth2authorize`)
    expect((await browser.goto(`${url}/`)).json().user).toBe('sub-bob')
    await expectRefused(app, ofAlice.callback)
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({
      user: 'sub-bob',
      scopes: ['openid', 'email'],
    })
  })
})

test('A1: what a callback leaves in the browser is for this site alone, and for no script', async () => {
  const app = await startApp()
  const { callback } = await begin(app)
  const left = ourCookies(await back(app, callback))
  expect(left.some((cookie) => cookie.startsWith('oauth2client.ended.'))).toBe(true)
  for (const cookie of left) expect(cookie).toMatch(/(?=.*; HttpOnly).*; SameSite=Lax/)
})

test('A8: a request that is too large for Node is a 431, and the next one is served', async () => {
  const app = await startApp()
  const { callback } = await begin(app)
  const host = `Host: ${new URL(app.url).host}`
  for (const size of [16_500, 100_000]) {
    const path = `/oauth2callback?code=x&state=${'s'.repeat(size)}`
    expect((await rawRequest(app.url, [`GET ${path} HTTP/1.1`, host]).catch(() => ({ status: 431 }))).status).toBe(431)
  }
  const started = Date.now()
  expect((await rawRequest(app.url, [`GET /oauth2callback?${'state=a&'.repeat(1_800)} HTTP/1.1`, host])).status).toBe(
    400,
  )
  expect(Date.now() - started).toBeLessThan(2_000)
  expect((await back(app, callback)).status).toBe(303)
})
