/**
 * Many processes want the same expired credential at once, and the provider ends a grant whose refresh token it sees twice.
 * `STORM_RUNS` sets how many runs there are of each small storm, `STORM_REQUESTS` how many requests each process of the
 * large one makes.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type AppProcess, type AppProcesses, compileApps } from '../helpers/app-process.js'
import { type SharedStore, serverStores, sqlite } from '../helpers/shared-stores.js'
import { type Family, StrictProvider } from '../helpers/strict-provider.js'

const RUNS = Number(process.env.STORM_RUNS ?? 20)
const REQUESTS = Number(process.env.STORM_REQUESTS ?? 200)
const HOUR = 3_600_000

let apps: AppProcesses
beforeAll(async () => {
  apps = await compileApps()
})
afterAll(() => apps.remove())

for (const shared of [...(await serverStores()), sqlite]) {
  shared.describe(shared.name, () => storms(shared))
}

function storms(shared: SharedStore): void {
  let provider: StrictProvider
  let all: AppProcess[] = []
  let place: Awaited<ReturnType<SharedStore['create']>>
  let users = 0

  beforeAll(async () => {
    provider = await new StrictProvider().listen()
    place = await shared.create()
    const task = { provider: provider.options, store: place.task }
    all = await Promise.all(Array.from({ length: 8 }, () => apps.start(task)))
    await all[0]!.tell('prepare')
  })
  afterEach(async () => {
    await Promise.all(all.map((app) => app.tell('change', { ahead: 0, leases: 'kept' })))
  })
  afterAll(async () => {
    await all[0]?.tell('remove')
    await Promise.all(all.map((app) => app.close()))
    await provider.close()
    await place.cleanup()
  })

  async function newCredential(): Promise<Family> {
    users += 1
    const family = provider.authorize(`user-${users}`)
    await all[0]!.tell('adopt', { ...family })
    return family
  }

  /** Everybody asks at once. */
  async function storm(family: Family, processes: AppProcess[], requests: number): Promise<void> {
    const { user, refreshToken, accessToken: expired } = family
    const before = provider.received.length
    const at = Date.now() + 20
    const counts = await Promise.all(processes.map((app) => app.tell('storm', { user, requests, at })))
    expect(family.accessToken).not.toBe(expired)
    // No request failed, and every one of them was served with the new token.
    expect(counts).toEqual(processes.map(() => ({ [`200 ${family.accessToken}`]: requests })))
    expect(provider.received.slice(before)).toEqual([refreshToken])
    expect(family.end).toBeUndefined()
  }

  describe.each([
    ['with locks', true],
    ['without locks', false],
  ])('%s', (_name, locks) => {
    beforeAll(async () => {
      await Promise.all(all.map((app) => app.tell('change', { locks })))
    })

    test(`J2: 3 processes with 25 requests each, ${RUNS} times`, { timeout: 10_000 + RUNS * 2_000 }, async () => {
      provider.delay = [10, 100]
      for (let run = 0; run < RUNS; run += 1) await storm(await newCredential(), all.slice(0, 3), 25)
    })

    test('one refresh after the other: each uses the token that the last one brought', async () => {
      provider.delay = [0, 150]
      const family = await newCredential()
      for (let link = 1; link <= 4; link += 1) {
        await storm(family, all.slice(0, 4), 10)
        await Promise.all(all.map((app) => app.tell('change', { ahead: link * 2 * HOUR })))
      }
    })

    test(`J2: 8 processes with ${REQUESTS} requests each`, { timeout: 120_000 }, async () => {
      provider.delay = [300, 1_000]
      await storm(await newCredential(), all, REQUESTS)
    })
  })

  test.each(['over at once', 'failing'] as const)('leases are %s, and the provider takes its time', async (leases) => {
    await Promise.all(all.map((app) => app.tell('change', { locks: true, leases })))
    provider.delay = [400, 500]
    await storm(await newCredential(), all, 10)
  })
}
