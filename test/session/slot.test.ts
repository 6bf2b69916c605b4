/** Credentials in a session are one part of the link: what is written there leaves the rest of it alone. */
import { expect, test } from 'vitest'
import { startApp } from '../helpers/app.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { answer, back, begin } from '../routes/flow.js'

const HOUR = 3_600_000

describeEachSession((variant) => {
  test('A4: a refresh keeps where a callback led that is opened again', async () => {
    const app = await startApp({ variant, storage: 'session' })
    const { callback } = await begin(app, '/profile')
    expect((await back(app, callback)).location).toBe(`${app.url}/profile`)
    app.clock.advance(HOUR)
    expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(200)
    expect(app.provider.count('token', 'refresh_token')).toBe(1)
    const again = await back(app, callback)
    expect([again.status, again.location]).toEqual([303, `${app.url}/profile`])
  })

  test('credentials that are revoked leave the session, and whoever signs in again has the new ones', async () => {
    const app = await startApp({
      variant,
      storage: 'session',
      routes: (server) =>
        server.post('/revoke', { config: { oauth2: true } }, async ({ oauth2 }) => {
          await oauth2.revoke()
          return { has: oauth2.hasCredentials() }
        }),
    })
    await app.browser.goto(`${app.url}/profile`)
    expect((await app.browser.xhr(`${app.url}/revoke`, { method: 'POST' })).json()).toEqual({ has: false })
    expect(answer(await app.browser.xhr(`${app.url}/profile`))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  })
})
