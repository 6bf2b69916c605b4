/**
 * I4: which sign-in a refresh is held against. A provider writes that of the refresh token into ID tokens (OpenID Connect Core
 * section 12.2), though the person may have signed in again since, without a refresh token that took the place of it.
 */
import { expect, test } from 'vitest'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { answer } from '../routes/flow.js'

const LATER = 2_000

/** ID tokens of a sign-in say when it was and carry its nonce; those of a refresh say both of the sign-in named by `refreshed`. */
async function start(options: TestAppOptions) {
  const app = await startApp({ storage: memoryStore(), ...options })
  const { provider, clock } = app
  const signIns: { auth_time: number; nonce: string | undefined; acr: string }[] = []
  const at = { refreshed: 0, says: {} as Record<string, unknown> }
  const first = Math.floor(clock.now() / 1000) - 2 * LATER
  provider.expiresIn = 10
  provider.idTokenClaims = (claims, { nonce }) => {
    if (nonce === undefined) return { ...claims, ...signIns[at.refreshed], ...at.says }
    const signIn = { auth_time: first + LATER * signIns.length, nonce, acr: `class-${signIns.length}` }
    signIns.push(signIn)
    return { ...claims, ...signIn }
  }
  const stored = async () => (await app.app.oauth2[kClient].manager.vaultOf('sub-alice').read())?.record.accounts[0]
  /** Has the access token expire, and the next request fetch another. */
  const refresh = async (browser: Browser) => {
    clock.advance(11_000)
    return browser.xhr(`${app.url}/profile`)
  }
  const again = () => app.browser.goto(`${app.url}/oauth2authorize?return_url=/`)
  return { ...app, at, signIns, stored, refresh, again }
}

describeEachSession((variant) => {
  test('I4 a second sign-in with fewer scopes leaves the grant of the first one alive', async () => {
    const { url, browser, provider, refresh, signIns, stored } = await start({ variant })
    await browser.goto(`${url}/files`)
    const second = new Browser()
    expect((await second.goto(`${url}/oauth2authorize?return_url=/`)).status).toBe(200)
    for (let n = 0; n < 2; n++) {
      const page = await refresh(browser)
      expect([page.status, page.json().scopes]).toEqual([200, expect.arrayContaining(['files.read'])])
    }
    expect(provider.count('token', 'refresh_token')).toBe(2)
    expect((await second.xhr(`${url}/profile`)).status).toBe(200)
    // What is shown of the person stays that of the newest sign-in.
    expect((await stored())?.claims).toMatchObject(signIns[1] as object)
  })

  test('I4 sign-ins that bring no refresh token leave the first one usable', async () => {
    const { url, browser, provider, refresh, again, signIns, stored } = await start({ variant })
    provider.refreshTokenPolicy = 'first'
    await browser.goto(`${url}/profile`)
    for (let n = 0; n < 3; n++) {
      expect((await again()).status).toBe(200)
      expect((await refresh(browser)).status).toBe(200)
      expect((await stored())?.claims).toMatchObject(signIns[n + 1] as object)
    }
    expect(provider.count('token', 'refresh_token')).toBe(3)
  })

  test('I4 a sign-in that brings a refresh token is the one that counts', async () => {
    const { url, browser, provider, refresh, again, at } = await start({ variant })
    provider.refreshTokenPolicy = 'first'
    await browser.goto(`${url}/profile`)
    await again()
    provider.refreshTokenPolicy = 'always'
    await again()
    at.refreshed = 2
    expect((await refresh(browser)).status).toBe(200)
  })

  test.each([
    ['person', { sub: 'sub-eve' }],
    ['nonce', { nonce: 'another' }],
  ])('I4 another %s than that of the refresh token ends the grant all the same', async (_name, says) => {
    const { url, browser, provider, refresh, again, at, stored } = await start({ variant })
    provider.refreshTokenPolicy = 'first'
    await browser.goto(`${url}/profile`)
    await again()
    at.says = says
    expect(answer(await refresh(browser))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    expect((await stored())?.dead).toBe('identity_changed')
  })
})
