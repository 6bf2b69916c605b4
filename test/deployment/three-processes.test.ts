/**
 * What the folder deploy/ runs: three processes behind nginx, over PostgreSQL and Redis. People and requests go from one to the
 * other, and processes come and go.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Browser } from '../helpers/browser.js'
import { hasOpenssl } from '../helpers/certificates.js'
import { describeWith } from '../storage/servers.js'
import { compose, Deployment, deploy, nginx, template } from './deployment.js'

const postgres = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')
const redis = await describeWith('TEST_REDIS_URL', 'redis://127.0.0.1:6379')
/** The machine may be busy. */
const PATIENT = { timeout: 15_000, interval: 20 }
const possible = nginx !== undefined && hasOpenssl && postgres.describe === describe && redis.describe === describe

describe.skipIf(!possible)('three processes behind nginx', { timeout: 60_000 }, () => {
  let deployment: Deployment
  beforeAll(async () => {
    deployment = await Deployment.start({ postgres: postgres.url, redis: redis.url })
  }, 120_000)
  afterAll(() => deployment?.close())

  /** What nginx has to say about what `work` did, which were so many requests. */
  async function logOf(requests: number, work: () => Promise<unknown>) {
    // What came before may still be on its way into the log.
    let from = -1
    const settled = async () => {
      const before = from
      from = (await deployment.log()).length
      return from === before
    }
    await expect.poll(settled, { ...PATIENT, interval: 100 }).toBe(true)
    await work()
    // It is written once the answer has gone.
    await expect.poll(() => deployment.log(from), PATIENT).toHaveLength(requests)
    return deployment.log(from)
  }

  const many = <T>(count: number, work: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, index) => work(index)))

  /** Resolves when nginx sends requests there, which it does a while after a failure. */
  async function askedAgain(address: string, browser: Browser) {
    const upstreams = async () => {
      const answers = await logOf(3, () => many(3, () => browser.goto(`${deployment.url}/files`)))
      return answers.flatMap((answer) => answer.upstreams)
    }
    await expect.poll(upstreams, { timeout: 30_000, interval: 200 }).toContain(address)
  }

  async function somebody(user: string) {
    const browser = deployment.browser()
    expect((await deployment.signIn(browser, user)).json()).toEqual([`${user}.txt`])
    return browser
  }

  test('sign in on one, be known to another, have the token refreshed by a third', async () => {
    const browser = deployment.browser()
    const signIn = await logOf(3, () => deployment.signIn(browser, 'alice'))
    expect(signIn.map(({ path, status }) => [path, status])).toEqual([
      ['/files', 302],
      ['/oauth2callback', 303],
      ['/files', 200],
    ])
    await deployment.server.expireAccessTokens()
    const refresh = await logOf(1, async () => {
      expect((await browser.goto(`${deployment.url}/files`)).json()).toEqual(['alice.txt'])
    })
    expect(deployment.refreshes()).toBe(1)
    const [, signedIn, used, refreshed] = [...signIn, ...refresh].map(({ upstreams }) => upstreams.join())
    expect(new Set([signedIn, used, refreshed])).toEqual(new Set(deployment.apps.map(({ address }) => address)))
    // It was HTTPS, which the app knows from nginx.
    expect(browser.cookies()).toEqual([expect.objectContaining({ name: 'sessionId', secure: true })])
  })

  test('several people at once: everybody gets their own', async () => {
    const before = deployment.server.tokenRequests.length
    const browsers = await many(8, (index) => somebody(`person-${index}`))
    expect(deployment.server.tokenRequests.length - before).toBe(8)
    await many(24, async (index) => {
      const page = await browsers[index % 8]!.goto(`${deployment.url}/files`)
      expect(page.json()).toEqual([`person-${index % 8}.txt`])
    })
  })

  test('one token request for each refresh, however many ask, wherever', async () => {
    const browsers = [await somebody('bob'), await somebody('carol')]
    for (let round = 1; round <= 3; round += 1) {
      await deployment.server.expireAccessTokens()
      const before = deployment.refreshes()
      const answers = await logOf(48, () =>
        many(48, async (index) => {
          const page = await browsers[index % 2]!.goto(`${deployment.url}/files`)
          expect([page.status, page.body]).toEqual([200, expect.stringMatching(/bob|carol/)])
        }),
      )
      expect(deployment.refreshes() - before).toBe(2)
      expect(new Set(answers.flatMap(({ upstreams }) => upstreams)).size).toBe(3)
    }
  })

  test('SIGKILL between the page and the callback: nobody notices', async () => {
    const known = await somebody('dave')
    const browser = deployment.browser()
    let form = await browser.goto(`${deployment.url}/health`)
    const [begun] = await logOf(1, async () => {
      form = await browser.goto(`${deployment.url}/files`)
    })
    const begunOn = deployment.apps.find(({ address }) => begun?.upstreams.includes(address))!
    await begunOn.stop('SIGKILL')
    const page = await browser.submit(await browser.submit(form, 0, { username: 'erin', password: 'password' }))
    expect(page.json()).toEqual(['erin.txt'])
    await deployment.server.expireAccessTokens()
    const before = deployment.refreshes()
    await many(12, async () => {
      expect((await known.goto(`${deployment.url}/files`)).json()).toEqual(['dave.txt'])
    })
    expect(deployment.refreshes() - before).toBe(1)
    await begunOn.start()
    await askedAgain(begunOn.address, known)
  })

  test('SIGKILL under requests: another process answers them', async () => {
    const browser = await somebody('frank')
    deployment.server.faults.api = { delay: 1_000 }
    const asked = deployment.server.apiRequests.length
    const answers = await logOf(12, async () => {
      const pages = many(12, () => browser.goto(`${deployment.url}/files`))
      await expect.poll(() => deployment.server.apiRequests.length - asked, PATIENT).toBeGreaterThanOrEqual(12)
      await deployment.apps[1]!.stop('SIGKILL')
      expect((await pages).map(({ status }) => status)).toEqual(Array(12).fill(200))
    })
    deployment.server.faults.api = undefined
    expect(answers.some(({ upstreams }) => upstreams.length > 1)).toBe(true)
    await deployment.apps[1]!.start()
  })

  test('SIGTERM, one after the other as with a new version: no request is lost', { timeout: 120_000 }, async () => {
    const browser = await somebody('grace')
    for (const app of deployment.apps) {
      await askedAgain(app.address, browser)
      deployment.server.faults.api = { delay: 700 }
      deployment.server.faults.token = { delay: 300 }
      await deployment.server.expireAccessTokens()
      const before = deployment.refreshes()
      const from = (await deployment.log()).length
      const pages = many(12, () => browser.goto(`${deployment.url}/files`))
      await expect.poll(() => deployment.refreshes() - before, PATIENT).toBe(1)
      const end = app.stop('SIGTERM')
      // People go on clicking meanwhile.
      const more = many(12, () => browser.goto(`${deployment.url}/files`))
      expect((await pages).map(({ status }) => status)).toEqual(Array(12).fill(200))
      expect((await more).map(({ status }) => status)).toEqual(Array(12).fill(200))
      expect(await end).toMatchObject({ code: 0, signal: null })
      expect(deployment.refreshes() - before).toBe(1)
      await expect.poll(async () => (await deployment.log(from)).length, PATIENT).toBe(24)
      expect((await deployment.log(from)).map(({ upstreams }) => upstreams.at(-1))).toContain(app.address)
      deployment.server.faults = {}
      await app.start()
    }
  })

  test('plain HTTP leads to HTTPS', async () => {
    const { status, location } = await deployment.browser().step(`${deployment.plainUrl}/files?page=2`)
    expect([status, location]).toEqual([308, `${deployment.url}/files?page=2`])
  })

  test('neither log holds codes', async () => {
    const written = await deployment.written()
    expect(written).toContain('"path":"/oauth2callback"')
    expect(written).not.toMatch(/code=|state=/)
    const outputs = await Promise.all(deployment.apps.map((app) => app.stop('SIGTERM')))
    const output = outputs.map((end) => end.output).join('')
    expect(output).toContain('"path":"/files"')
    expect(output).not.toMatch(/code=|state=/)
    for (const app of deployment.apps) await app.start()
  })
})

describe('the compose file agrees', () => {
  const { nginx, migrate, ...others } = compose.services
  const apps = Object.entries(others).filter(([name]) => name.startsWith('app-'))
  const app = apps[0]![1]
  const sources = readdirSync(join(deploy, 'app'))
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(deploy, 'app', name), 'utf8'))
    .join('\n')

  test('with the configuration of nginx', () => {
    const variables = [...template.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name)
    expect(new Set(variables)).toEqual(new Set(Object.keys(nginx!.environment)))
    const { PORT } = app.environment
    apps.forEach(([, { networks }], index) => {
      expect(nginx!.environment[`APP_${index + 1}`]).toBe(`${networks.default.ipv4_address}:${PORT}`)
    })
    expect(apps).toHaveLength(variables.filter((name) => name?.startsWith('APP_')).length)
    expect(app.environment.TRUST_PROXY).toBe(nginx!.networks.default.ipv4_address)
  })

  test('with the app: settings, secrets, health', () => {
    const read = [...sources.matchAll(/const \{([^}]*)\} = process\.env/g)].flatMap(([, names]) =>
      (names as string).split(',').map((name) => /\w+/.exec(name)?.[0]),
    )
    // The defaults of HOST and SECRETS are those of a container.
    expect(Object.keys(app.environment)).toEqual(
      expect.arrayContaining(read.filter((name) => !['HOST', 'SECRETS'].includes(name!))),
    )
    const secrets = [...sources.matchAll(/secret\('([\w-]+)'\)/g)].map(([, name]) => name)
    expect(new Set(app.secrets)).toEqual(new Set(secrets))
    const declared = new Set(Object.values(compose.services).flatMap((service) => service.secrets ?? []))
    expect(new Set(Object.keys(compose.secrets))).toEqual(declared)
    expect(app.healthcheck.test?.join(' ')).toContain(`http://127.0.0.1:${app.environment.PORT}/health`)
    expect(sources).toContain("app.get('/health'")
    expect(readdirSync(join(deploy, 'app'))).toContain(migrate!.command![1])
    for (const [name, service] of Object.entries(compose.services)) expect(service.healthcheck, name).toBeDefined()
  })

  test('and the app stays one that can be read at once', () => {
    expect(sources.split('\n').filter(Boolean).length).toBeLessThan(120)
  })
})
