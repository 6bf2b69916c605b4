/** The store breaks down in the middle of things, and comes back. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { privateServer } from '../helpers/private-server.js'
import { type OpenedStore, openStore } from '../helpers/shared-store.js'
import { type Family, StrictProvider } from '../helpers/strict-provider.js'
import { type Answer, startUserApp, type UserApp } from '../helpers/user-app.js'

const HOUR = 3_600_000
const codeOf = ({ status, body }: Answer) => [status, JSON.parse(body).code]
const UNAVAILABLE = [503, 'FST_OAUTH2_STORE_UNAVAILABLE']

const lasting = (['postgres', 'mysql', 'redis'] as const).map(privateServer)
const forgetful = privateServer('forgetful redis')

for (const { name, describe, make } of [...lasting, forgetful]) {
  describe(`${name} breaks down`, { timeout: 30_000 }, () => {
    let server: Awaited<ReturnType<typeof make>>
    let opened: OpenedStore
    let provider: StrictProvider
    let app: UserApp
    let ahead = 0
    let users = 0

    beforeAll(async () => {
      ;[server, provider] = await Promise.all([make(), new StrictProvider().listen()])
      await server.start()
      opened = await openStore(server.task)
      app = await startUserApp(provider.options, opened.store, { clock: () => Date.now() + ahead })
      await back()
    }, 60_000)
    afterAll(async () => {
      await app.app.close()
      await opened.close()
      await provider.close()
      await server.remove()
    })

    /** A server that takes connections may still need a moment before it takes orders. */
    const back = () => vi.waitFor(() => opened.prepare(), { timeout: 15_000, interval: 100 })

    async function authorize(): Promise<Family> {
      users += 1
      const family = provider.authorize(`user-${users}`)
      await app.adopt(family)
      return family
    }

    if (name === forgetful.name) {
      test('and comes back empty: people sign in again', async () => {
        const { user, refreshToken, accessToken } = await authorize()
        await server.stop()
        await server.start()
        await back()
        expect(codeOf(await app.request(user))).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
        expect(provider.count(refreshToken)).toBe(0)
        await app.adopt({ user, refreshToken, accessToken })
        expect((await app.request(user)).status).toBe(200)
      })

      test('and comes back empty while an answer is on its way: what comes is revoked, for there is nobody to keep it for', async () => {
        const family = await authorize()
        const answer = await duringTheAnswer(family, async () => {
          await server.stop()
          await server.start()
          await back()
        })
        // It cannot be told from credentials that were deleted by the person.
        expect(codeOf(answer)).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
        expect(family.end).toBe('revoked')
      })
      return
    }

    test('while an answer is on its way: what it brings is written down as soon as that is possible', async () => {
      const family = await authorize()
      const { user, refreshToken } = family
      const answer = await duringTheAnswer(
        family,
        () => server.stop(),
        async () => {
          // The first attempts to write fail.
          await new Promise((resolve) => setTimeout(resolve, 500))
          await server.start()
        },
      )
      expect(answer).toMatchObject({ status: 200, body: family.accessToken })
      expect(provider.count(refreshToken)).toBe(1)
      const renewed = family.refreshToken
      ahead += 2 * HOUR
      expect(await app.request(user)).toMatchObject({ status: 200, body: family.accessToken })
      expect(provider.count(renewed)).toBe(1)
      expect(family.end).toBeUndefined()
    })

    test('a token that works is served meanwhile, one that expired is a 503, and afterwards all is well', async () => {
      const [live, expired] = [await authorize(), await authorize()]
      expect((await app.request(live.user)).status).toBe(200)
      await server.stop()
      expect(await app.request(live.user)).toMatchObject({ status: 200, body: live.accessToken })
      const sent = provider.received.length
      expect(codeOf(await app.request(expired.user))).toEqual(UNAVAILABLE)
      ahead += 2 * HOUR
      expect(codeOf(await app.request(live.user))).toEqual(UNAVAILABLE)
      expect(provider.received).toHaveLength(sent)
      await server.start()
      await back()
      for (const family of [live, expired]) {
        expect(await app.request(family.user)).toMatchObject({ status: 200, body: family.accessToken })
        expect(family.end).toBeUndefined()
      }
      expect(provider.reused).toEqual([])
    })

    /** Asks for a token, and lets things happen when the provider has replaced the refresh token, and after it answered. */
    async function duringTheAnswer(
      { user }: Family,
      before: () => Promise<unknown>,
      after: () => Promise<unknown> = async () => {},
    ): Promise<Answer> {
      let answering: Promise<unknown> = Promise.resolve()
      provider.step = async (when) => {
        if (when === 'before') return
        provider.step = () => undefined
        await before()
        answering = after()
      }
      const answer = await app.request(user)
      await answering
      return answer
    }
  })
}
