/**
 * Sign-out while refreshes are under way. It ends a browser's link to the credentials, and nothing else: a grant in a store
 * lives on for jobs and other browsers, one in the session is gone with it. The order of things is fast-check's choice.
 */
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import fc, { type Scheduler } from 'fast-check'
import type { Session } from 'fastify'
import { describe, expect, test, vi } from 'vitest'
import { type CredentialStore, oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import type { SessionVariant } from '../helpers/session-plugins.js'
import { inTurn, interleave, order } from '../helpers/turns.js'

const RUNS = Number(process.env.INTERLEAVINGS ?? 150)
const HOUR = 3_600_000

// Waiting for others takes a turn instead of time.
vi.mock(import('node:timers/promises'), async (original) =>
  (await import('../helpers/turns.js')).withoutTime(await original()),
)

interface AppSession {
  set(key: string, value: unknown): void
}
type Done = (error?: unknown) => void

/** Sessions in a database whose operations wait for a turn. */
function sessionsInTurn(records: Map<string, string>): SessionVariant {
  const store = {
    get(id: string, done: (error: unknown, session?: Session | null) => void) {
      inTurn('session get', async () => records.get(id)).then((record) =>
        done(null, record ? JSON.parse(record) : null),
      )
    },
    set(id: string, value: Session, done: Done) {
      const record = JSON.stringify(value)
      inTurn('session set', async () => records.set(id, record)).then(() => done())
    },
    destroy(id: string, done: Done) {
      inTurn('session destroy', async () => records.delete(id)).then(() => done())
    },
  }
  return {
    name: 'in turn',
    kind: 'session',
    cookieName: 'sessionId',
    hasStore: true,
    register(app) {
      app.register(cookie)
      app.register(session, {
        secret: 'session-secret-that-is-long-enough-for-everyone',
        cookie: { path: '/', secure: 'auto', sameSite: 'lax' },
        rolling: false,
        store,
      })
    },
  }
}

function storeInTurn(inner: CredentialStore): CredentialStore {
  return {
    shared: false,
    get: (key) => inTurn('get', () => inner.get(key)),
    put: (key, value, expected) => inTurn('put', () => inner.put(key, value, expected)),
    delete: (key, expected) => inTurn('delete', () => inner.delete(key, expected)),
  }
}

/** The cookie that an answer leaves a browser with. */
function cookieAfter(before: string, headers: Record<string, unknown>): string {
  const set = [headers['set-cookie'] ?? []].flat().find((value) => String(value).startsWith('sessionId='))
  return set ? String(set).split(';')[0]! : before
}

describe.each([
  ['a store', () => storeInTurn(memoryStore())],
  ["'session'", () => 'session' as const],
])('storage: %s', (_name, storage) => {
  const operations = fc
    .array(fc.constantFrom('request' as const, 'sign out' as const), { maxLength: 2 })
    .map((more) => ['request' as const, 'sign out' as const, ...more])

  test(`sign-out in ${RUNS} interleavings with refreshes`, { timeout: 120_000 }, async () => {
    const records = new Map<string, string>()
    const sealed = () => [...records.values()].filter((record) => record.includes('"oauth2client:credentials.'))
    const kept = storage()
    const app: TestApp = await startApp({
      variant: sessionsInTurn(records),
      storage: kept,
      client: { fetch: (input, init) => inTurn('fetch', () => fetch(input, init)) },
      routes(instance) {
        instance.get('/token', { onRequest: requireOAuth() }, async (request) => {
          // A slow request of the app brings back a whole session that has ended meanwhile. With credentials in it that is
          // for the app to avoid; a link alone must not sign anybody in again.
          if (kept !== 'session') (request.session as unknown as AppSession).set('seen', request.id)
          return (await request.oauth2.getAccessToken()).token
        })
        instance.post('/leave', { onRequest: oauthAware() }, async ({ oauth2 }) => {
          await oauth2.signOut()
          return 'bye'
        })
      },
    })
    const { provider, url, clock } = app
    provider.refreshTokenPolicy = 'rotate'
    const inject = (cookies: string, method: 'GET' | 'POST', path: string) =>
      app.app.inject({ method, url: path, headers: { host: new URL(url).host, cookie: cookies } })
    let users = 0

    async function interleaved(scheduler: Scheduler, chosen: readonly ('request' | 'sign out')[]): Promise<void> {
      users += 1
      provider.user = `user-${users}`
      records.clear()
      const browser = new Browser()
      await browser.goto(`${url}/profile`)
      const [found] = browser.cookies().filter(({ name }) => name === 'sessionId')
      const before = `sessionId=${found?.value}`
      expect((await inject(before, 'GET', '/token')).statusCode).toBe(200)
      if (kept === 'session') expect(sealed()).toHaveLength(1)
      clock.advance(HOUR)
      const sent = provider.count('token', 'refresh_token')

      const answers = await interleave(
        scheduler,
        chosen.map(
          (kind) => async () =>
            kind === 'request' ? inject(before, 'GET', '/token') : inject(before, 'POST', '/leave'),
        ),
      )

      for (const [index, { statusCode, body }] of answers.entries()) {
        expect(chosen[index] === 'request' ? [200, 401] : [200]).toContain(statusCode)
        if (chosen[index] === 'request' && statusCode === 200) expect(provider.isValidAccessToken(body)).toBe(true)
      }
      expect(provider.count('token', 'refresh_token') - sent).toBeLessThanOrEqual(1)
      // Whichever answer came last: nobody is signed in any more.
      const after = new Set([before, ...answers.map(({ headers }) => cookieAfter(before, headers))])
      for (const cookies of after) expect((await inject(cookies, 'GET', '/token')).statusCode).toBe(401)
      if (kept === 'session') {
        expect(sealed()).toEqual([])
      } else {
        const { token } = await (await app.app.oauth2.user(`sub-user-${users}`)).getAccessToken()
        expect(provider.isValidAccessToken(token)).toBe(true)
      }
    }

    await fc.assert(fc.asyncProperty(order(), operations, interleaved), { numRuns: RUNS })
  })
})
