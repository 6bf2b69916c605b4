/** An API, an app and a real authorization server, which asks for the password again and says so. */
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { listen } from '../helpers/listen.js'
import { describeEachSession } from '../helpers/session-plugins.js'

describeEachSession((variant) => {
  test.each(['session', 'memory'])('J7 signs in again for an API, by a stronger class, storage: %s', async (kind) => {
    const server = await startAuthorizationServer({ acrValues: ['pwd', 'phr'] })
    onTestFinished(() => server.close())

    // Tokens are good for payments if they came with a sign-in of the right class.
    const weak = new Set<string>()
    const api = Fastify()
    onTestFinished(() => api.close())
    api.get('/payments', async ({ headers: { authorization = '' } }, reply) => {
      if (!server.authorizationRequests.some(({ acr_values }) => acr_values)) weak.add(authorization)
      if (!weak.has(authorization)) return ['1 EUR']
      reply.header(
        'www-authenticate',
        'Bearer error="insufficient_user_authentication", acr_values="phrh phr", max_age=600',
      )
      return reply.code(401).send({})
    })
    const apiUrl = await listen(api)

    const app = Fastify()
    onTestFinished(() => app.close())
    variant.register(app)
    app.register(oauth2Client, {
      provider: { issuer: server.issuer },
      clientId: server.clientId,
      clientSecret: server.clientSecret,
      storage: kind === 'session' ? 'session' : memoryStore(),
      allowedOrigins: [apiUrl],
    })
    app.get('/profile', { onRequest: requireOAuth() }, async ({ oauth2 }) => oauth2.claims)
    app.get('/payments', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
      const response = await oauth2.fetch(`${apiUrl}/payments`)
      await oauth2.stepUp(response)
      return { payments: await response.json(), claims: oauth2.claims }
    })
    const url = await listen(app)

    const browser = new Browser()
    const person = { username: 'alice', password: 'password' }
    let page = await browser.submit(await browser.goto(`${url}/profile`), 0, person)
    page = await browser.submit(page)
    expect([page.status, page.json().acr]).toEqual([200, undefined])

    page = await browser.goto(`${url}/payments?page=2`)
    expect([new URL(page.url).origin, page.forms]).toEqual([server.issuer, [expect.anything()]])
    page = await browser.submit(await browser.submit(page, 0, person))
    expect([page.status, page.url]).toEqual([200, `${url}/payments?page=2`])
    expect(page.json()).toEqual({
      payments: ['1 EUR'],
      claims: expect.objectContaining({ sub: 'sub-alice', acr: 'phr', auth_time: expect.any(Number) }),
    })
    expect(server.authorizationRequests).toHaveLength(2)
    expect(server.authorizationRequests[1]).toMatchObject({ acr_values: 'phrh phr', max_age: '600' })
    // From now on nobody is asked again.
    expect((await browser.goto(`${url}/payments`)).status).toBe(200)
    expect(server.authorizationRequests).toHaveLength(2)
  })
})
