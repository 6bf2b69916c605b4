import { expect, test } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { describeEachSession } from '../helpers/session-plugins.js'

describeEachSession((variant) => {
  for (const storage of ['session', 'memory'] as const) {
    test(`signs in and asks for more with ${storage}`, async () => {
      const { browser, url, provider, clock } = await startApp({
        variant,
        storage: storage === 'session' ? 'session' : memoryStore(),
      })
      let page = await browser.goto(`${url}/profile?x=1`)
      expect(page.json()).toMatchObject({ user: 'sub-alice', scopes: ['openid', 'email'] })
      page = await browser.goto(`${url}/files`)
      expect(page.json()).toEqual({ scopes: ['openid', 'email', 'files.read'] })
      provider.grant = (scopes) => scopes.filter((s) => s !== 'calendar.read')
      page = await browser.goto(`${url}/calendar`)
      expect([page.status, page.body]).toMatchObject([403, expect.stringContaining('SCOPE_DECLINED')])
      clock.advance(3_600_000)
      expect(provider.count('token', 'refresh_token')).toBe(0)
      page = await browser.goto(`${url}/api`)
      expect(page.status).toBe(200)
      expect(provider.count('token', 'refresh_token')).toBe(1)
      expect((await browser.xhr(`${url}/calendar`)).json()).toMatchObject({
        code: 'FST_OAUTH2_INSUFFICIENT_SCOPE',
        missingScopes: ['calendar.read'],
      })
      expect(browser.cookies().map((c) => c.name)).toEqual([variant.cookieName])
    })
  }
})
