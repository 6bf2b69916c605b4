import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { KeyRegistry } from '../../src/credentials/upkeep/key-registry.js'
import { type Resealed, resealIfNeeded } from '../../src/credentials/upkeep/reseal.js'
import { RecordSealer } from '../../src/credentials/vault.js'
import { KeyRing, kidOf } from '../../src/keys/key-ring.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'
import { type SharedStore, sharedKinds } from '../storage/shared-kinds.js'

const [OLD, NEW] = ['the key of last year, which is long enough', 'the key of this year, which is long enough'] as const
const [old, young] = [OLD, NEW].map((key) => new KeyRing([key]).kids[0]) as [string, string]
const HOUR = 3_600_001
const FUTURE = '{"v":2,"what":"only the next version knows", "n": 1.0}'
const variant = sessionVariants[1] as SessionVariant

/** One app, deployed again and again over the same store, sessions and provider, each time with connections of its own. */
class Deployments {
  readonly clock = fakeClock()
  readonly browsers = new Map<string, Browser>()
  readonly #sessions = new SlowSessionStore(0)
  readonly #shared: SharedStore
  readonly #provider: ScriptedProvider

  constructor(shared: SharedStore, provider: ScriptedProvider) {
    this.#shared = shared
    this.#provider = provider
  }

  sealer(...keys: string[]): RecordSealer {
    return new RecordSealer(new KeyRing(keys), this.#provider.issuer, this.#provider.clientId)
  }

  registry(): KeyRegistry {
    const { issuer, clientId } = this.#provider
    return new KeyRegistry({ store: this.#shared.store, name: 'oauth2', issuer, clientId, clock: this.clock.now })
  }

  /** Starts a process with a ring, as an app does: checked, and registered before anything is sealed. */
  async deploy(...keys: string[]): Promise<TestApp> {
    const ring = new KeyRing(keys)
    await this.registry().check(ring)
    await this.registry().register(ring.kids[0])
    return startApp({
      provider: this.#provider,
      clock: this.clock,
      storage: await this.#shared.connect(),
      variant: { ...variant, register: (app) => variant.register(app, { store: this.#sessions }) },
      client: { encryptionKeys: keys, refreshBeforeExpiry: 0 },
    })
  }

  async signIn({ url }: TestApp, user: string): Promise<void> {
    this.#provider.user = user
    const browser = new Browser()
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: `sub-${user}` })
    this.browsers.set(user, browser)
  }

  /** Everybody comes to every process, each time with an access token that has to be refreshed first. */
  async everybodyVisits(...apps: TestApp[]): Promise<void> {
    for (const { url } of apps) {
      this.clock.advance(HOUR)
      const before = this.#provider.count('token', 'refresh_token')
      for (const [user, browser] of this.browsers) {
        const page = await browser.xhr(`${url}/profile`)
        expect([user, page.status, page.json().user]).toEqual([user, 200, `sub-${user}`])
      }
      expect(this.#provider.count('token', 'refresh_token') - before).toBe(this.browsers.size)
    }
    expect(this.#provider.count('token', 'authorization_code')).toBe(this.browsers.size + 1)
  }

  async sweep(sealer: RecordSealer): Promise<Resealed[]> {
    const results: Resealed[] = []
    for await (const key of this.#shared.store.list?.('user/oauth2/') ?? []) {
      let done: Resealed
      do done = await resealIfNeeded(this.#shared.store, sealer, key, this.registry())
      while (done.result === 'lost_race')
      results.push(done)
    }
    return results
  }

  async valueOf(user: string): Promise<string> {
    return (await this.#shared.store.get(`user/oauth2/sub-${user}`))?.value as string
  }
}

for (const kind of (await sharedKinds(describe)).filter(({ name }) => ['SQLite', 'PostgreSQL'].includes(name))) {
  kind.describe(`a new key in a rolling deployment, on ${kind.name}`, () => {
    let shared: SharedStore
    let all: Deployments
    beforeEach(async () => {
      shared = await kind.open()
      const provider = await startScriptedProvider()
      provider.refreshTokenPolicy = 'rotate'
      all = new Deployments(shared, provider)
      return () => provider.close()
    })
    afterEach(() => shared.end())

    test('N7: at every step the processes of the step before go on, and nobody is lost', async () => {
      const first = await all.deploy(OLD)
      for (const user of ['alice', 'bob', 'zoe']) await all.signIn(first, user)
      // Zoe has used a canary deployment of the next version, which sealed what it wrote with the key of everybody.
      const zoe = all.browsers.get('zoe') as Browser
      all.browsers.delete('zoe')
      const place = 'user/oauth2/sub-zoe'
      await shared.store.put(place, await all.sealer(OLD).sealText(place, FUTURE))
      const zoeWaits = async (keys: string[], ...apps: TestApp[]) => {
        for (const { url, app } of apps) {
          const page = await zoe.xhr(`${url}/profile`)
          expect([page.status, page.json()]).toMatchObject([503, { reason: 'newer_version' }])
          const job = app.oauth2.user('sub-zoe')
          await expect(job).rejects.toMatchObject({ reason: 'newer_version' })
          expect((await zoe.goto(`${url}/oauth2authorize`)).status).toBe(503)
          expect(await all.sealer(...keys).openText(place, await all.valueOf('zoe'))).toBe(FUTURE)
        }
      }
      const refused = (...keys: string[]) =>
        expect(all.deploy(...keys)).rejects.toMatchObject({ code: 'FST_OAUTH2_KEY_IN_USE' })

      // Straight to the new key: refused, and nothing has happened.
      await refused(NEW)

      const second = await all.deploy(OLD, NEW)
      await all.everybodyVisits(first, second, first)
      await all.signIn(second, 'carol')
      await all.everybodyVisits(first, second)
      await zoeWaits([OLD], first, second)
      await first.app.close()

      const third = await all.deploy(NEW, OLD)
      await all.everybodyVisits(second, third, second, third)
      await all.signIn(third, 'dave')
      await all.signIn(second, 'erin')
      await all.everybodyVisits(third, second)
      await zoeWaits([NEW, OLD], second, third)
      // What was written with the new key is not to be had with the old one alone, so there is no way back to it.
      await refused(OLD)
      await refused(NEW)
      await second.app.close()

      // Whoever writes while the sweep is under way wins; what it meets it moves.
      await Promise.all([all.everybodyVisits(third), all.sweep(all.sealer(NEW, OLD))])
      const swept = await all.sweep(all.sealer(NEW, OLD))
      expect(swept).toEqual(swept.map(() => ({ result: 'current', kid: young })))
      expect(swept).toHaveLength(6)
      for (const user of [...all.browsers.keys(), 'zoe']) expect(kidOf(await all.valueOf(user))).toBe(young)
      // Half an hour, in which a process that was still going down could have written.
      all.clock.advance(31 * 60_000)
      expect(await all.registry().retire([old])).toEqual([old])

      const fourth = await all.deploy(NEW)
      await all.everybodyVisits(third, fourth, third, fourth)
      await zoeWaits([NEW], third, fourth)
      await third.app.close()
      await all.everybodyVisits(fourth)
    }, 60_000)
  })
}
