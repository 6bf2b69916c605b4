import { expect, test } from 'vitest'
import { callbackRouteOptions, handleAuthorize, handleCallback, requireOAuth } from '../../src/index.js'
import { startApp } from '../helpers/app.js'

test('with routes: false, the app answers the callback on a route of its own', async () => {
  const { browser, url, provider, logs } = await startApp({
    client: { routes: false, callbackPath: '/auth/done', authorizePath: '/auth/start' },
    routes: (app) => {
      app.get('/auth/done', callbackRouteOptions, (request, reply) => handleCallback(request, reply))
      app.get('/auth/start', (request, reply) => handleAuthorize(request, reply))
      app.get('/own', { onRequest: requireOAuth() }, async (request) => request.oauth2.email)
    },
  })
  const page = await browser.goto(`${url}/own?q=1`)
  expect([page.status, page.url, page.body]).toEqual([200, `${url}/own?q=1`, 'alice@example.com'])
  expect(page.chain[2]?.url).toContain(`${url}/auth/done?`)
  expect(logs.text()).not.toContain(provider.requests.find(({ endpoint }) => endpoint === 'authorize')?.params.state)
  expect((await browser.goto(`${url}/oauth2callback`)).status).toBe(404)
  const { authorizeUrl } = (await browser.clone().xhr(`${url}/files`)).json()
  expect(authorizeUrl).toMatch(/^\/auth\/start\?ticket=/)
  expect((await browser.goto(`${url}${authorizeUrl}&return_url=/files`)).url).toBe(`${url}/files`)
})

test('routeOptions reach our routes, and cannot bring the query back into the log', async () => {
  const seen: string[] = []
  const { browser, url, logs, provider } = await startApp({
    client: { routeOptions: { onRequest: async (request) => void seen.push(request.routeOptions.url ?? '') } },
  })
  await browser.goto(`${url}/profile`)
  expect(seen).toEqual(['/oauth2callback'])
  const state = provider.requests.find(({ endpoint }) => endpoint === 'authorize')?.params.state as string
  expect(logs.text()).toContain('/oauth2callback?…')
  expect(logs.text()).not.toContain(state)
})
