/** Logout with a real authorization server, and an app in two processes over one store. */
import { createServer } from 'node:http'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { listen } from '../helpers/listen.js'
import { type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

const cookieSessions = sessionVariants.find(({ hasStore }) => !hasStore) as SessionVariant

/** Receives logout tokens where the server was told to send them, before there is an app, and hands them on to it. */
async function relay() {
  const state = { to: '', statuses: [] as number[] }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const headers = { 'content-type': String(request.headers['content-type']) }
    const answer = await fetch(state.to, { method: 'POST', headers, body: Buffer.concat(chunks) })
    state.statuses.push(answer.status)
    response.writeHead(answer.status).end(await answer.text())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { state, url: `http://localhost:${(server.address() as { port: number }).port}/` }
}

async function started() {
  const { state, url: backchannelLogoutUri } = await relay()
  const client = { clientId: 'app', clientSecret: 'a secret of the app' }
  const server = await startAuthorizationServer({
    clients: [{ ...client, backchannelLogoutUri }],
    autoApprove: { user: 'alice' },
  })
  onTestFinished(() => server.close())
  const clock = fakeClock()
  const store = { ...memoryStore(), shared: true }
  const start = async () => {
    const app = Fastify()
    onTestFinished(() => app.close())
    cookieSessions.register(app)
    app.register(oauth2Client, {
      provider: { issuer: server.issuer },
      ...client,
      // As google() has it: lasting access.
      authorizationParams: { access_type: 'offline' },
      storage: store,
      encryptionKeys: 'a key of both the processes of this app',
      backchannelLogout: true,
      providerLogout: true,
      clock: clock.now,
    })
    app.get('/private', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) =>
      reply
        .type('text/html')
        .send(
          `<form method="post" action="/oauth2logout"><input name="_csrf" value="${oauth2.xsrfToken}">` +
            '<input name="return_url" value="/bye"><button>Sign out</button></form>',
        ),
    )
    app.get('/bye', async () => 'bye')
    return { app, url: await listen(app) }
  }
  const apps = [await start(), await start()] as const
  state.to = `${apps[1].url}/oauth2logout/backchannel`
  const statuses = (browser: Browser) =>
    Promise.all(apps.map(async ({ url }) => (await browser.clone().xhr(`${url}/private`)).status))
  return { server, apps, clock, statuses, delivered: state.statuses }
}

test('A17 rp-backchannel-rpinitlogout: signing out at the provider ends that browser everywhere, and nothing else', async () => {
  const { server, apps, clock, statuses, delivered } = await started()
  const [first] = apps
  const [browser, elsewhere] = [new Browser(), new Browser()]
  for (const one of [browser, elsewhere]) expect((await one.goto(`${first.url}/private`)).status).toBe(200)
  expect([await statuses(browser), await statuses(elsewhere)]).toEqual([
    [200, 200],
    [200, 200],
  ])
  await browser.submit(await browser.goto(`${server.issuer}/session/end`))
  expect(delivered).toEqual([200])
  clock.advance(2_100)
  expect([await statuses(browser), await statuses(elsewhere)]).toEqual([
    [401, 401],
    [200, 200],
  ])
  // Jobs go on, with a token that is fetched now.
  const alice = await first.app.oauth2.user('sub-alice')
  const { token } = await alice.getAccessToken()
  expect((await alice.getAccessToken({ rejected: token })).token).not.toBe(token)
  expect((await browser.goto(`${first.url}/private`)).status).toBe(200)
  expect(await statuses(browser)).toEqual([200, 200])
})

test('A17 rp-init-logout: signing out here leads to the provider and back, and ends other apps’ sessions there', async () => {
  const { server, apps, statuses, delivered } = await started()
  const [first] = apps
  const browser = new Browser()
  const signedIn = await browser.goto(`${first.url}/private`)
  const question = await browser.submit(signedIn)
  expect(question.url.startsWith(`${server.issuer}/session/end`)).toBe(true)
  expect(question.body).not.toContain('class="bad"')
  expect(await statuses(browser)).toEqual([401, 401])
  const home = await browser.submit(question)
  expect([home.body, delivered]).toEqual(['bye', [200]])
  expect(home.chain.map(({ url }) => new URL(url).pathname)).toContain('/oauth2logout')
})
