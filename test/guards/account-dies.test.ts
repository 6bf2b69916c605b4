import { expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { startApp } from '../helpers/app.js'

test('credentials of a named account that die in the handler get the answer of the guard', async () => {
  const { browser, url, provider } = await startApp({
    routes(app, { issuer }) {
      app.get('/one', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
        const response = await oauth2.account('sub-alice').fetch(`${issuer}/api/things`)
        return response.json()
      })
    },
  })
  await browser.goto(`${url}/profile`)
  expect((await browser.xhr(`${url}/one`)).status).toBe(200)
  provider.withdraw('alice')
  const refused = await browser.xhr(`${url}/one`)
  expect([refused.status, refused.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  expect(refused.headers.get('www-authenticate')).toBe('Bearer')
  expect(refused.json().authorizeUrl).toMatch(/^\/oauth2authorize\?/)
})
