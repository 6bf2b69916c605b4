/**
 * A process is killed in the middle of a refresh, and another one wants the same credentials. Whatever can be told apart is:
 * only where the provider had replaced the refresh token and nobody was left to write the new one down is the grant lost.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import {
  type AppProcess,
  type AppProcesses,
  type AppTask,
  compileApps,
  type DeathPoint,
} from '../helpers/app-process.js'
import { type SharedStore, serverStores, sqlite } from '../helpers/shared-stores.js'
import { type Family, StrictProvider } from '../helpers/strict-provider.js'

const PERSON = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
/** Milliseconds; an attempt is only given up after 30 s by the store's clock. */
const NOT_YET = 20_000
const LONG_AFTER = 31_000

interface Step {
  /** Where the process dies by itself, or when the provider has it killed: before or after the request had its effect. */
  readonly death: DeathPoint | 'request seen by the provider' | 'refresh token replaced'
  /** Token requests that it made. */
  readonly sent: 0 | 1
  /**
   * What others find. `free`: nothing happened. `leased`: nothing, but perhaps a lease. `attempt`: somebody seems to be at it.
   * `lost`: the same, and the provider will say that the refresh token is used up. `done`: the new tokens.
   */
  readonly left: 'free' | 'leased' | 'attempt' | 'lost' | 'done'
}

const steps: readonly Step[] = [
  { death: 'before the lock', sent: 0, left: 'free' },
  { death: 'holding the lock', sent: 0, left: 'leased' },
  { death: 'claim written', sent: 0, left: 'attempt' },
  { death: 'before the request', sent: 0, left: 'attempt' },
  { death: 'request seen by the provider', sent: 1, left: 'attempt' },
  { death: 'refresh token replaced', sent: 1, left: 'lost' },
  { death: 'answer received', sent: 1, left: 'lost' },
  { death: 'before the write', sent: 1, left: 'lost' },
  { death: 'after the write', sent: 1, left: 'done' },
]

// They mostly wait.
vi.setConfig({ maxConcurrency: 12 })

let apps: AppProcesses
let provider: StrictProvider
/** What happens to a user's request at the provider. */
const fates = new Map<string, { victim: AppProcess; when: 'before' | 'after' }>()

beforeAll(async () => {
  ;[apps, provider] = await Promise.all([compileApps(), new StrictProvider().listen()])
  provider.step = async (when, { family }) => {
    const fate = family && fates.get(family.user)
    if (fate?.when !== when) return undefined
    fates.delete(family!.user)
    fate.victim.kill()
    await fate.victim.end
    return 'drop'
  }
})
afterAll(async () => {
  await provider.close()
  await apps.remove()
})

const servers = await serverStores()
for (const shared of [...servers, sqlite]) {
  shared.describe(`J3: ${shared.name}: a process is killed`, () => deaths(shared, true))
}
// What locks are good for does not depend on who keeps them.
sqlite.describe('J3: SQLite, without locks: a process is killed', () => deaths(sqlite, false))

function deaths(shared: SharedStore, locks: boolean): void {
  let place: Awaited<ReturnType<SharedStore['create']>>
  let task: AppTask
  let survivor: AppProcess

  beforeAll(async () => {
    place = await shared.create()
    // Nobody waits longer for others than this and two seconds.
    task = { provider: provider.options, store: place.task, timeout: 1_000 }
    survivor = await apps.start(task)
    await survivor.tell('change', { locks })
    await survivor.tell('prepare')
  })
  afterAll(async () => {
    await survivor.tell('remove')
    await survivor.close()
    await place.cleanup()
  })

  async function authorize(): Promise<Family> {
    const family = provider.authorize(`user-${randomBytes(8).toString('hex')}`)
    await survivor.tell('adopt', { ...family })
    return family
  }

  /** Has a process die of a refresh. */
  async function die({ user }: Family, death: Step['death']): Promise<void> {
    const victim = await apps.start(task)
    await victim.tell('change', { locks })
    if (death === 'request seen by the provider') fates.set(user, { victim, when: 'before' })
    else if (death === 'refresh token replaced') fates.set(user, { victim, when: 'after' })
    else await victim.tell('change', { dieAt: death })
    await expect(victim.tell('request', { user })).rejects.toThrow('the process ended: SIGKILL')
  }

  test.concurrent.each(steps)('$death', { timeout: 30_000 }, async ({ death, sent, left }) => {
    const [family, other] = [await authorize(), await authorize()]
    const { user, refreshToken } = family
    await die(family, death)
    expect(provider.count(refreshToken)).toBe(sent)

    // As long as it might still be alive, nobody sends the same refresh token.
    await survivor.tell('moveOn', { user, ms: NOT_YET })
    const early = await survivor.tell('request', { user })
    if (left === 'free' || left === 'done') expect(early).toMatchObject({ status: 200, body: family.accessToken })
    if (left === 'attempt' || left === 'lost') {
      expect(early.status).toBe(503)
      expect(JSON.parse(early.body).code).toBe('FST_OAUTH2_PROVIDER_UNAVAILABLE')
      expect(Number(early.headers['retry-after'])).toBeGreaterThan(0)
      expect(Number(early.headers['retry-after'])).toBeLessThanOrEqual(30)
      expect(provider.count(refreshToken)).toBe(sent)
    }
    // Others have nothing to do with it.
    expect(await survivor.tell('request', { user: other.user })).toMatchObject({ status: 200, body: other.accessToken })

    await survivor.tell('moveOn', { user, ms: LONG_AFTER })
    const late = await survivor.tell('request', { user })
    if (left === 'lost') {
      await lost(user, refreshToken, JSON.parse(late.body))
      return
    }
    expect(late).toMatchObject({ status: 200, body: family.accessToken })
    expect(provider.count(refreshToken)).toBe(left === 'done' ? 1 : sent + 1)
    expect(family.end).toBeUndefined()
    // What was written down is what the provider expects next.
    expect(await survivor.tell('renew', { user })).toBe(family.accessToken)
    expect(family.end).toBeUndefined()
  })

  async function lost(user: string, refreshToken: string, said: Record<string, unknown>): Promise<void> {
    expect(said).toMatchObject({ statusCode: 401, code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
    expect(said.authorizeUrl).toMatch(/^\/oauth2authorize/)
    expect(await survivor.tell('stored', { user })).toEqual({
      status: 'needs_reauthorization',
      reason: 'lost_rotation',
    })
    const navigation = await survivor.tell('request', { user, headers: PERSON })
    expect(navigation.status).toBe(302)
    expect(navigation.headers.location).toMatch(`${provider.issuer}/authorize?`)
    // It was tried once more, and never again.
    expect(provider.count(refreshToken)).toBe(2)
    // The way on leads somewhere: a new authorization is as good as ever.
    const again = provider.authorize(user)
    await survivor.tell('adopt', { ...again })
    expect(await survivor.tell('request', { user })).toMatchObject({ status: 200, body: again.accessToken })
    expect(again.end).toBeUndefined()
  }

  test.concurrent('an attempt that looks old is looked at twice before it is taken over', async () => {
    const family = await authorize()
    const { user, refreshToken } = family
    await die(family, 'claim written')
    await survivor.tell('moveOn', { user, ms: LONG_AFTER })
    const started = performance.now()
    const answer = survivor.tell('request', { user })
    await sleep(1_000)
    expect(provider.count(refreshToken)).toBe(0)
    expect(await answer).toMatchObject({ status: 200, body: family.accessToken })
    expect(performance.now() - started).toBeGreaterThan(2_000)
  })

  test.concurrent('several others take over at once: one of them does', { timeout: 30_000 }, async () => {
    const family = await authorize()
    const { user, refreshToken } = family
    await die(family, 'claim written')
    const others = [survivor, ...(await Promise.all([1, 2].map(() => apps.start(task))))]
    await Promise.all(others.slice(1).map((app) => app.tell('change', { locks })))
    await Promise.all(others.map((app) => app.tell('moveOn', { user, ms: LONG_AFTER })))
    const at = Date.now() + 20
    const counts = await Promise.all(others.map((app) => app.tell('storm', { user, requests: 10, at })))
    expect(counts).toEqual(others.map(() => ({ [`200 ${family.accessToken}`]: 10 })))
    expect(provider.count(refreshToken)).toBe(1)
    await Promise.all(others.slice(1).map((app) => app.close()))
  })
}
