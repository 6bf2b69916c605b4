/** `signIn` of the testing kit: what follows is as after a real sign-in, and nobody but the test can ask for it. */
import { createServer } from 'node:net'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import request from 'supertest'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { signIn, startAuthorizationServer } from '../../src/testing/index.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { fakeClock } from '../helpers/clock.js'
import { describeEachSession, type SessionVariant } from '../helpers/session-plugins.js'

const HEADER = 'x-oauth2-test-sign-in'
const storages = ['session', 'memory'] as const

/** A provider that nobody can reach. */
async function unreachable(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

describeEachSession((variant: SessionVariant) => {
  const start = (options: TestAppOptions = {}) => startApp({ variant, ...options })

  test.each(storages)('lets the guard pass, %s, and asks the provider nothing', async (kind) => {
    const { app, provider } = await start({ storage: kind === 'session' ? 'session' : memoryStore() })
    const { headers, user } = await signIn(app, { user: 'bob', scopes: 'files.read' })
    const page = await app.inject({ url: '/files', headers })
    expect(page.json()).toEqual({ scopes: ['openid', 'email', 'files.read'] })
    expect((await app.inject({ url: '/profile', headers })).json()).toMatchObject({
      user: 'sub-bob',
      email: 'bob@example.test',
    })
    expect(user).toBe('sub-bob')
    expect(provider.requests).toEqual([])
  })

  test('works with supertest, whose requests go over a socket', async () => {
    const { app } = await start()
    const { headers } = await signIn(app)
    const page = await request(app.server).get('/profile').set(headers)
    expect(page.body).toMatchObject({ user: 'sub-alice' })
  })

  test('cookies by name do as well', async () => {
    const { app } = await start()
    const { cookies } = await signIn(app)
    expect((await app.inject({ url: '/profile', cookies })).statusCode).toBe(200)
  })

  test('what is missing is asked for, as of anybody', async () => {
    const { app } = await start()
    const { headers } = await signIn(app)
    const page = await app.inject({ url: '/calendar', headers: { ...headers, accept: 'text/html' } })
    expect(page.statusCode).toBe(302)
    const asked = new URL(page.headers.location as string).searchParams
    expect(asked.get('scope')?.split(' ')).toContain('calendar.read')
  })

  test('a token that has expired is refreshed with the refresh token that was given', async () => {
    const { app, provider } = await start()
    const { headers } = await signIn(app, { expiresIn: -1, refreshToken: 'mine' })
    await app.inject({ url: '/profile', headers })
    expect(provider.requests.filter(({ endpoint }) => endpoint === 'token')).toHaveLength(1)
  })

  test('without a refresh token the person is asked again', async () => {
    const { app } = await start()
    const { headers } = await signIn(app, { expiresIn: -1, refreshToken: null })
    expect((await app.inject({ url: '/profile', headers })).statusCode).toBe(401)
  })

  test('signs out like anybody', async () => {
    const { app } = await start({
      routes: (fastify) => {
        fastify.post('/out', async ({ oauth2 }) => {
          await oauth2.signOut()
          return 'out'
        })
      },
    })
    const { headers } = await signIn(app)
    const out = await app.inject({ method: 'POST', url: '/out', headers })
    const after = Object.fromEntries(out.cookies.map(({ name, value }) => [name, value]))
    expect(out.body).toBe('out')
    expect((await app.inject({ url: '/profile', cookies: after })).statusCode).toBe(401)
  })

  test('several people at once get a browser each', async () => {
    const { app } = await start()
    const people = await Promise.all(['ann', 'bob', 'eve'].map((user) => signIn(app, { user })))
    const pages = await Promise.all(people.map(({ headers }) => app.inject({ url: '/profile', headers })))
    expect(pages.map((page) => page.json().user)).toEqual(['sub-ann', 'sub-bob', 'sub-eve'])
  })

  test('another account joins those of the browser that is passed in', async () => {
    const { app } = await start({
      storage: memoryStore(),
      client: { resolveUser: () => 'user-1' },
      routes: (fastify) => {
        fastify.get('/accounts', { onRequest: requireOAuth() }, async ({ oauth2 }) =>
          oauth2.accounts().map(({ id }) => id),
        )
      },
    })
    const { headers } = await signIn(app, { user: 'work' })
    const both = await signIn(app, { user: 'home', another: true, headers })
    expect(both.user).toBe('user-1')
    expect((await app.inject({ url: '/accounts', headers: both.headers })).json()).toEqual(['sub-work', 'sub-home'])
  })

  test('onAuthorized and resolveUser are called as after a flow', async () => {
    const seen: unknown[] = []
    const { app } = await start({
      storage: memoryStore(),
      client: {
        resolveUser: (_request, { claims }) => `person ${claims?.sub}`,
        onAuthorized: async (_request, { user, credentials }) => {
          seen.push(user, credentials.scopes)
        },
      },
    })
    const { user } = await signIn(app, { user: { sub: '42', groups: ['a'] }, scopes: ['openid', 'files.read'] })
    expect(user).toBe('person 42')
    expect(seen).toEqual(['person 42', ['openid', 'email', 'files.read']])
    expect((await app.oauth2.user(user)).claims).toMatchObject({ sub: '42', groups: ['a'] })
  })
})

describe('signIn', () => {
  const options = { clientId: 'c', clientSecret: 's', encryptionKeys: ['k'.repeat(32)], storage: 'session' } as const

  async function plainApp(secure: boolean | 'auto', name?: string) {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(cookie)
    await app.register(session, { secret: 's'.repeat(32), cookie: { secure } })
    const provider = { issuer: await unreachable() }
    await app.register(oauth2Client, { ...options, provider, ...(name ? { name } : {}) })
    app.get('/guarded', { onRequest: requireOAuth([], name ? { client: name } : {}) }, async () => 'passed')
    return app
  }

  test('needs no provider, no listening app, and no call of ready()', async () => {
    const app = await plainApp('auto')
    const { headers } = await signIn(app)
    expect((await app.inject({ url: '/guarded', headers })).body).toBe('passed')
  })

  test('finds a client by its name, also in a context of its own', async () => {
    const app = Fastify()
    onTestFinished(() => app.close())
    const provider = { issuer: await unreachable() }
    app.register(
      async (inner) => {
        await inner.register(cookie)
        await inner.register(session, { secret: 's'.repeat(32), cookie: { secure: 'auto' } })
        await inner.register(oauth2Client, { ...options, provider, name: 'mail' })
        inner.get('/guarded', { onRequest: requireOAuth([], { client: 'mail' }) }, async () => 'passed')
      },
      { prefix: '/inner' },
    )
    const { headers } = await signIn(app, { client: 'mail' })
    expect((await app.inject({ url: '/inner/guarded', headers })).body).toBe('passed')
    await expect(signIn(app)).rejects.toMatchObject({ code: 'FST_OAUTH2_NOT_REGISTERED' })
  })

  test('says why no cookie would come', async () => {
    const app = await plainApp(true)
    await expect(signIn(app)).rejects.toThrow(/secure.*auto/)
  })

  test('goes by the user that the app knows, and says when it knows none', async () => {
    const store = memoryStore()
    const { app } = await startApp({
      storage: store,
      client: { userKey: ({ headers }) => headers['x-user'] as string | undefined },
    })
    await expect(signIn(app)).rejects.toThrow(/FST_OAUTH2_USER_REQUIRED/)
    const { headers, user } = await signIn(app, { headers: { 'x-user': 'me' } })
    expect(user).toBe('me')
    expect((await app.inject({ url: '/profile', headers })).json()).toMatchObject({ user: 'sub-alice' })
  })

  test.each([
    [{ user: { sub: '' } }, /signIn\(\{ user \}\)/],
    [{ scopes: 'with "quotes"' }, /signIn\(\{ scopes \}\)/],
    [{ client: 'other' }, /other/],
  ])('says what is wrong with %j', async (wrong, message) => {
    const { app } = await startApp()
    await expect(signIn(app, wrong)).rejects.toThrow(message)
  })

  test.each([true, false])(
    'tokens of a test authorization server are good there, googleHabits %s',
    async (googleHabits) => {
      const server = await startAuthorizationServer({
        googleHabits,
        scopes: { 'files.read': {} },
        api: { '/files': { scope: 'files.read', body: ({ name }) => [`${name}.txt`] } },
      })
      onTestFinished(() => server.close())
      const clock = fakeClock(Date.now())
      const app = Fastify()
      onTestFinished(() => app.close())
      await app.register(cookie)
      await app.register(session, { secret: 's'.repeat(32), cookie: { secure: 'auto' } })
      await app.register(oauth2Client, {
        ...options,
        provider: { issuer: server.issuer },
        allowedOrigins: [server.issuer],
        clientId: server.clientId,
        clientSecret: server.clientSecret,
        clock: clock.now,
      })
      app.get('/guarded', { onRequest: requireOAuth('files.read') }, async ({ oauth2 }) =>
        (await oauth2.fetch(`${server.issuer}/files`)).json(),
      )
      const grant = { user: 'bob', scopes: 'openid email files.read' }
      const { headers } = await signIn(app, { ...grant, ...(await server.issueTokens(grant)) })
      expect((await app.inject({ url: '/guarded', headers })).json()).toEqual(['bob.txt'])
      clock.advance(3_600_000)
      expect((await app.inject({ url: '/guarded', headers })).json()).toEqual(['bob.txt'])
      expect(server.tokenRequests.map(({ grantType }) => grantType)).toEqual(['refresh_token'])
      await expect(server.issueTokens({ ...grant, clientId: 'nobody' })).rejects.toThrow(/nobody/)
    },
  )

  test('a header does nothing for whoever is not that test', async () => {
    const { app } = await startApp()
    const { headers } = await signIn(app)
    for (const value of ['', 'undefined', 'x', '__proto__']) {
      const page = await app.inject({
        url: '/oauth2authorize',
        headers: { [HEADER]: value, accept: 'text/html' },
      })
      expect(page.statusCode).toBe(302)
      expect(page.headers.location).toContain('/authorize?')
    }
    expect(headers[HEADER]).toBeUndefined()
  })
})
