/** What docs/architecture.md says about flows and answers, next to what a browser sees of it: neither changes without the other. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { startApp } from '../helpers/app.js'
import { altered, answer, back, begin, flowCookies, ourCookies } from '../routes/flow.js'

const text = readFileSync(new URL('../../docs/architecture.md', import.meta.url), 'utf8').replace(/\s+/g, ' ')
const says = (sentence: string) => expect(text).toContain(sentence)

describe('what always holds', () => {
  test('a refusal leaves other flows usable, and the one that it is about', async () => {
    says('bound to this browser. A refusal leaves other flows usable.')
    const app = await startApp()
    const flows = [await begin(app), await begin(app, '/profile')]
    for (const { callback } of flows) {
      expect((await back(app, altered(callback, { state: 'x'.repeat(43) }))).status).toBe(400)
      expect((await back(app, altered(callback, { iss: 'https://evil.example' }))).status).toBe(400)
    }
    for (const { callback } of flows) expect((await back(app, callback)).status).toBe(303)
  })

  test('one flow, one sealed cookie', async () => {
    says(
      '`__Host-` where people come over HTTPS, `Lax` (`None` where answers are posted), `HttpOnly`, ten minutes, at most',
    )
    says('at most five and 6 kB, the oldest dropped.')
    const app = await startApp()
    const [cookie] = ourCookies(await app.browser.step(`${app.url}/oauth2authorize`))
    expect(cookie).toMatch(/^oauth2client\.flow\..*Max-Age=600;.*HttpOnly; SameSite=Lax$/)
    const { callback: first } = await begin(app)
    for (let count = 0; count < 4; count += 1) {
      app.clock.advance(1_000)
      await begin(app)
    }
    expect(flowCookies(app.browser)).toHaveLength(5)
    app.clock.advance(595_999)
    expect((await back(app, first)).status).toBe(303)
    const { callback: late } = await begin(app)
    app.clock.advance(600_000)
    expect(answer(await back(app, late))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
    const secure = await startApp({ client: { baseUrl: 'https://app.example' }, server: { trustProxy: true } })
    const headers = { 'x-forwarded-proto': 'https' }
    const { headers: sent } = await secure.app.inject({ url: '/oauth2authorize', headers })
    expect([sent['set-cookie']].flat().join('\n')).toMatch(/^__Host-oauth2client\.flow\..*Secure/m)
  })
})

describe('decisions', () => {
  test('a posted answer goes on to a GET, in a cookie of a minute, and leaves the session alone', async () => {
    says('**A posted answer goes on to a `GET`,** sealed in a cookie of a minute')
    says('It goes when its flow does')
    says('**The response to a posted answer leaves the session alone.**')
    const app = await startApp({ client: { responseMode: 'form_post' } })
    const url = app.url.replace('localhost', '127.0.0.1')
    const asked = await app.browser.step(`${url}/oauth2authorize`)
    expect(ourCookies(asked)).toEqual([expect.stringMatching(/flow\..*SameSite=None/)])
    const form = await app.browser.goto(asked.location as string)
    const posted = await app.browser.submit(form, 0, {}, { stopAt: () => true })
    expect(posted.headers.getSetCookie()).toEqual([
      expect.stringMatching(/answer\..*Max-Age=60;.*HttpOnly; SameSite=Lax/),
    ])
    const landed = await app.browser.step(posted.location as string)
    const cleared = ourCookies(landed).filter((cookie) => cookie.includes('Max-Age=0'))
    expect(cleared.map((cookie) => /flow|answer/.exec(cookie)?.[0]).sort()).toEqual(['answer', 'flow'])
  })
})
