/** A guarded app for a provider that somebody else wrote. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import Fastify from 'fastify'
import { onTestFinished } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions, oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type FakeClock, fakeClock } from '../helpers/clock.js'
import { sessionVariants } from '../helpers/session-plugins.js'

/** With characters that clients may encode, and many servers do not decode. */
export const REGISTRATION = { clientId: 'client-of.the_app', clientSecret: 'secret-of.the_app-that-is-long-enough' }

export interface ForeignApp {
  readonly url: string
  readonly browser: Browser
  readonly clock: FakeClock
  /** Requests to the provider, by path, in the order that they were made. */
  readonly calls: string[]
}

/** Routes: `/me` behind a guard, `/token` the access token there, `/renew` another one, `POST /revoke`, `/leave` a form to sign out. */
export async function foreignApp(
  options: Partial<OAuth2ClientOptions>,
  { port = 0 }: { readonly port?: number } = {},
): Promise<ForeignApp> {
  const clock = fakeClock()
  const calls: string[] = []
  const app = Fastify()
  onTestFinished(() => app.close())
  sessionVariants[0]?.register(app)
  app.register(oauth2Client, {
    ...REGISTRATION,
    storage: memoryStore({ clock: clock.now }),
    clock: clock.now,
    fetch: (input, init) => {
      calls.push(new URL(String(input)).pathname)
      return fetch(input, init)
    },
    ...options,
  } as OAuth2ClientOptions)
  app.get('/me', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({
    user: oauth2.userId,
    email: oauth2.email,
    scopes: oauth2.scopes,
    claims: oauth2.claims,
  }))
  app.get('/token', { onRequest: requireOAuth() }, async ({ oauth2 }) => (await oauth2.getAccessToken()).token)
  app.get('/renew', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
    const { token } = await oauth2.getAccessToken()
    return (await oauth2.getAccessToken({ rejected: token })).token !== token
  })
  app.post('/revoke', { onRequest: oauthAware() }, ({ oauth2 }) => oauth2.revoke())
  app.get('/leave', { onRequest: oauthAware() }, async ({ oauth2 }, reply) =>
    reply
      .type('text/html')
      .send(`<form method="post" action="/oauth2logout"><input name="_csrf" value="${oauth2.xsrfToken}"></form>`),
  )
  app.get('/', async () => 'front page')
  await app.listen({ host: '127.0.0.1', port })
  const { port: taken } = app.server.address() as { port: number }
  return { url: `http://localhost:${taken}`, browser: new Browser(), clock, calls }
}

/** A port that nobody listens on at the moment, for redirect URIs that have to be known beforehand. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Opens a guarded page and goes through whatever forms the provider shows. */
export async function signIn({ url, browser }: ForeignApp, path = '/me'): Promise<Page> {
  let page = await browser.goto(url + path)
  for (let i = 0; i < 4 && !page.url.startsWith(`${url}/`) && page.forms.length > 0; i++) {
    page = await browser.submit(page)
  }
  return page
}
