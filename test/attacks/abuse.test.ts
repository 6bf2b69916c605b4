/**
 * Strangers without end: what they cost is bounded, in memory, rows, cookies and outbound requests. `ABUSE=full` is 100,000
 * anonymous requests and 10,000 sign-ins, as in CI; without it, a fraction of both.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { Pool } from 'undici'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { challengeFrom } from '../../src/credentials/challenge-from.js'
import { isNavigation, isPrefetch } from '../../src/guards/navigation.js'
import { readHeader } from '../../src/keys/key-ring.js'
import { readScopes } from '../../src/provider/scopes.js'
import { comparable, parseReturnUrl } from '../../src/session/return-url.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { type Compiled, compileSources } from '../helpers/processes.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, SlowSessionStore } from '../helpers/session-plugins.js'
import { altered, back, begin } from '../routes/flow.js'
import type { AbuseTask, Command, Sample } from './abuse-child.js'

const FULL = process.env.ABUSE === 'full'
const HITS = FULL ? 100_800 : 1_440
const SIGN_INS = FULL ? 10_080 : 240
const WINDOWS = 12
const WARM_UP = 6
/** Bytes by which what is in use differs for no reason: code that was not needed before, above all. */
const NOISE = { hits: 150_000, signIns: 400_000 }
/** Bytes. Whatever is kept for somebody takes more. */
const PER_REQUEST = 40
const AT_ONCE = 6

/** A provider that keeps nothing in mind: what it has to know is in the code. */
class ForgetfulProvider {
  tokenRequests = 0
  requests = 0
  readonly #server: Server = createServer(async (request, response) => {
    this.requests += 1
    let body = ''
    for await (const chunk of request) body += chunk
    const [status, answered] = await this.#answer(request.url ?? '', new URLSearchParams(body))
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answered))
  })
  readonly #keys = generateKeyPair('ES256')

  get issuer(): string {
    return `http://localhost:${(this.#server.address() as { port: number }).port}`
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #answer(path: string, params: URLSearchParams): Promise<[number, object]> {
    const { publicKey, privateKey } = await this.#keys
    if (path === '/jwks') return [200, { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] }]
    this.tokenRequests += 1
    const [user, nonce] = (params.get('code') ?? '').split('.')
    if (!nonce) return [400, { error: 'invalid_grant' }]
    const id_token = await new SignJWT({ nonce, email: `${user}@example.com` })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer(this.issuer)
      .setAudience('client')
      .setSubject(user as string)
      .setIssuedAt()
      // The app's clock is ahead.
      .setExpirationTime('400d')
      .sign(privateKey)
    const tokens = { access_token: crypto.randomUUID(), refresh_token: crypto.randomUUID(), id_token }
    return [200, { ...tokens, token_type: 'Bearer', expires_in: 3600, scope: 'openid email' }]
  }
}

interface Got {
  readonly status: number
  readonly location: string | undefined
  readonly body: string
}

/** Talks to the app over connections that stay open. */
class Driver {
  readonly #child: ChildProcess
  readonly #pool: Pool

  constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.#pool = new Pool(url, { connections: AT_ONCE })
  }

  static async start(compiled: Compiled, task: AbuseTask): Promise<Driver> {
    const env = { NODE_OPTIONS: '--expose-gc', NODE_ENV: '' }
    const child = compiled.start('test/attacks/abuse-child.js', task, { env, talk: true })
    child.stderr?.pipe(process.stderr)
    const [{ url }] = await once(child, 'message')
    return new Driver(child, url)
  }

  /** @param cookies kept up to date, as a browser does */
  async get(path: string, cookies = new Map<string, string>(), method: 'GET' | 'POST' = 'GET'): Promise<Got> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { accept: 'text/html', ...(cookie && { cookie }) }
    const response = await this.#pool.request({ method, path, headers })
    for (const line of [response.headers['set-cookie'] ?? []].flat()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
    }
    const body = await response.body.text()
    return { status: response.statusCode, location: response.headers.location as string | undefined, body }
  }

  async sample(): Promise<Sample> {
    const answered = once(this.#child, 'message')
    this.tell('sample')
    return (await answered)[0]
  }

  tell(command: Command): void {
    this.#child.send(command)
  }

  /** Resolves to how the process ended by itself. */
  async close(): Promise<number | null> {
    const closed = once(this.#child, 'close')
    await this.#pool.close()
    this.tell('close')
    return (await closed)[0]
  }
}

/** Does it so often, a few at once, and looks at what is left now and then. */
async function sampled(driver: Driver, times: number, use: (index: number) => Promise<void>): Promise<Sample[]> {
  const samples: Sample[] = []
  const size = Math.ceil(times / WINDOWS)
  for (let window = 0; window < WINDOWS; window++) {
    let next = window * size
    const end = next + size
    const work = async () => {
      while (next < end) await use(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    samples.push(await driver.sample())
  }
  return samples
}

/** What was in use in the last windows is no more than in those before them; one sample that is off decides nothing. */
function expectPlateau(samples: Sample[], times: number, noise: number): void {
  const heaps = samples.slice(WARM_UP).map(({ heap }) => heap)
  const half = heaps.length / 2
  const growth = middle(heaps.slice(half)) - middle(heaps.slice(0, half))
  const between = (times / WINDOWS) * half
  expect(growth, `bytes in use: ${samples.map(({ heap }) => heap)}`).toBeLessThan(noise + PER_REQUEST * between)
}

const middle = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] as number

let compiled: Compiled
beforeAll(async () => {
  compiled = await compileSources(['test/attacks/abuse-child'])
})
afterAll(() => compiled?.remove())

const random = () => Math.random().toString(36).slice(2)

describe.each([
  ['session', 'store'],
  ['secure-session', 'session'],
] as const)('M1, M2: @fastify/%s, credentials in the %s', (plugin, storage) => {
  async function start() {
    const provider = await new ForgetfulProvider().listen()
    onTestFinished(() => provider.close())
    const driver = await Driver.start(compiled, { plugin, storage, issuer: provider.issuer })
    return { provider, driver }
  }

  test(`${HITS} anonymous requests leave no row, ask nobody anything, and memory is as it was`, {
    timeout: 1_800_000,
  }, async () => {
    const { provider, driver } = await start()
    const kinds: (() => [path: string, cookies?: Record<string, string>])[] = [
      () => [`/oauth2authorize?return_url=/${random()}`],
      () => [`/oauth2callback?state=${random()}${random()}${random()}${random()}&code=${random()}`],
      () => ['/profile'],
      () => [`/oauth2authorize?scope=${random()}`],
      () => {
        const state = random().repeat(4)
        return [
          `/oauth2callback?state=${state}&code=x`,
          { [`oauth2client.flow.${random()}.${random()}`]: random(), sessionId: random(), session: random() },
        ]
      },
      () => [`/oauth2authorize?ticket=${random()}`],
    ]
    const statuses: Record<number, number> = {}
    const samples = await sampled(driver, HITS, async (index) => {
      const [path, cookies] = (kinds[index % kinds.length] as (typeof kinds)[number])()
      const { status } = await driver.get(path, new Map(Object.entries(cookies ?? {})))
      statuses[status] = (statuses[status] ?? 0) + 1
    })
    expect(statuses).toEqual({ 302: HITS / 3, 400: (HITS * 2) / 3 })
    expectPlateau(samples, HITS, NOISE.hits)
    for (const { rows } of samples) expect(rows).toEqual({})
    expect(provider.requests).toBe(0)
    expect(await driver.close()).toBe(0)
  })

  test(`${SIGN_INS} sign-ins, and as many that fail: memory and rows level off`, { timeout: 1_800_000 }, async () => {
    const { provider, driver } = await start()
    // What is kept for a time is kept for that time, and the time goes by: 30 s, 11 minutes, and an hour for tombstones.
    const advance = (4 * 3_600_000) / SIGN_INS
    const users = 40
    const samples = await sampled(driver, SIGN_INS, async (index) => {
      const cookies = new Map<string, string>()
      for (const good of [false, true]) {
        const { location } = await driver.get('/oauth2authorize?return_url=/profile', cookies)
        const asked = new URL(location as string).searchParams
        const code = good ? `user-${index % users}.${asked.get('nonce')}` : random()
        const done = await driver.get(
          `/oauth2callback?${new URLSearchParams({ code, state: String(asked.get('state')) })}`,
          cookies,
        )
        expect(done.status).toBe(good ? 303 : 502)
      }
      expect(await driver.get('/profile', cookies)).toMatchObject({
        body: JSON.stringify({ user: `user-${index % users}` }),
      })
      expect([...cookies.keys()].filter((name) => name.includes('.flow.'))).toEqual([])
      driver.tell({ advance })
    })
    expect(provider.tokenRequests).toBe(2 * SIGN_INS)
    expectPlateau(samples, 3 * SIGN_INS, NOISE.signIns)
    if (storage === 'store') {
      const rows = samples.map((sample) => sample.rows)
      for (const { user } of rows.slice(WARM_UP)) expect(user).toBe(users)
      const used = rows.map((sample) => sample.used ?? 0)
      expect(Math.max(...used.slice(WARM_UP))).toBeLessThanOrEqual(Math.ceil(660_000 / advance + AT_ONCE) * 2)
    } else {
      for (const { rows } of samples) expect(rows).toEqual({})
    }
    expect(await driver.close()).toBe(0)
  })
})

describeEachSession((variant) => {
  test('M1: a browser that starts flow after flow carries five of them and 6 kB, and the last one works', async () => {
    const app = await startApp({ variant })
    for (let i = 0; i < 25; i++) {
      await begin(app, `/oauth2authorize?return_url=/${'x'.repeat(i * 80)}`)
      const ours = app.browser.cookies().filter(({ name }) => name.startsWith('oauth2client.'))
      const bytes = ours.reduce((sum, { name, value }) => sum + name.length + value.length, 0)
      expect(ours.length).toBeLessThanOrEqual(5)
      expect(bytes).toBeLessThanOrEqual(7_000)
    }
    const { callback } = await begin(app, '/profile')
    expect((await app.browser.goto(callback)).json()).toMatchObject({ user: 'sub-alice' })
  })

  test('M1: what is no navigation starts nothing: no cookie, no session, no row', async () => {
    const sessions = new SlowSessionStore(0)
    const map = new Map()
    const quiet: SessionVariant = {
      ...variant,
      register: (app) => variant.register(app, { store: sessions, saveUninitialized: false }),
    }
    const app = await startApp({ variant: quiet, storage: memoryStore({ map }) })
    for (const path of ['/', '/profile', '/files', '/oauth2callback?state=x&code=y', '/oauth2authorize?scope=none']) {
      for (const headers of [{ 'sec-fetch-mode': 'cors' }, { 'sec-fetch-dest': 'image' }, { accept: '*/*' }]) {
        const page = await new Browser().xhr(app.url + path, { headers })
        expect(page.headers.getSetCookie()).toEqual([])
      }
    }
    expect([sessions.records.size, map.size, app.provider.requests.length]).toEqual([0, 0, 0])
    // A navigation is one session of the app, which remembers who began the flow, and no row of ours.
    await begin(app)
    expect(sessions.records.size).toBeLessThanOrEqual(1)
    expect(map.size).toBe(0)
  })

  test('M3: a path back through our own routes, nested as deep as a header can be, leads to the front page', async () => {
    const app = await startApp({ variant })
    let nested = '/oauth2authorize'
    while (nested.length < 1_900) nested = `/oauth2authorize?return_url=${nested}`
    for (const path of [nested, nested.repeat(6)]) {
      const { callback } = await begin(app, `/oauth2authorize?return_url=${encodeURIComponent(path)}`)
      expect((await back(app, callback)).location).toBe(`${app.url}/`)
    }
  })

  test('M5: no address in a token, in claims or in userinfo is asked for anything', async () => {
    const inside = await startScriptedProvider()
    onTestFinished(() => inside.close())
    const at = inside.issuer
    const app = await startApp({ variant })
    const sources = {
      _claim_names: { address: 'src', email: 'src' },
      _claim_sources: { src: { endpoint: `${at}/claims`, access_token: 'x' } },
      jwks_uri: `${at}/jwks`,
      token_endpoint: `${at}/token`,
      userinfo_endpoint: `${at}/userinfo`,
      picture: `${at}/picture`,
      profile: `${at}/profile`,
      sub_jwk: { jku: `${at}/jwks` },
    }
    app.provider.idTokenClaims = ({ email: _, ...claims }) => ({ ...claims, ...sources })
    app.provider.signIdToken = (claims) => app.provider.sign(claims, { jku: `${at}/jwks`, x5u: `${at}/x5u` })
    app.provider.userinfoAnswer = async (_params, defaults) => {
      const { body } = await defaults()
      const { email: _, ...rest } = body
      return { body: { ...rest, ...sources } }
    }
    app.provider.tokenAnswer = async (_params, defaults) => ({ body: { ...sources, ...(await defaults()).body } })
    const { callback } = await begin(app, '/profile')
    const page = await app.browser.goto(
      `${callback}&${new URLSearchParams({ jwks_uri: `${at}/jwks`, request_uri: at })}`,
    )
    expect(page.json()).toMatchObject({ user: 'sub-alice', email: null })
    app.clock.advance(2 * 3_600_000)
    expect((await app.browser.goto(`${app.url}/api`)).status).toBe(200)
    expect(inside.requests).toEqual([])
  })

  test('M5: an issuer in the callback is compared, and not looked up', async () => {
    const inside = await startScriptedProvider()
    onTestFinished(() => inside.close())
    const app = await startApp({ variant })
    const { callback } = await begin(app)
    expect((await back(app, altered(callback, { iss: inside.issuer }))).status).toBe(400)
    expect(inside.requests).toEqual([])
  })
})

function milliseconds(use: () => unknown): number {
  const start = performance.now()
  use()
  return performance.now() - start
}

/** Whether four times the length takes less than ten times as long. What the machine does meanwhile only makes for more tries. */
function growsSlowly(parse: (length: number) => unknown, length: number): boolean {
  let [short, long] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let tries = 0; tries < 30; tries++) {
    short = Math.min(
      short,
      milliseconds(() => parse(length / 4)),
    )
    long = Math.min(
      long,
      milliseconds(() => parse(length)),
    )
    // Looking at each character from each other one would be sixteen times as much.
    if (tries >= 3 && long < 10 * short + 5) return true
  }
  return false
}

const request = (headers: Record<string, string>) => ({ method: 'GET', headers, raw: { headers } }) as never
const hostile = [
  '/',
  ' ',
  'a',
  '0',
  '.',
  '"',
  '\\',
  ',',
  ';',
  '=',
  '%2F',
  '..//',
  'a=',
  'a="',
  '\\"',
  'q=0.',
  'x ',
].flatMap((piece) => ['', '/a', 'Bearer ', 'text/html;'].map((start) => [start, piece] as const))

test.each<[string, (text: string) => unknown, limit?: number]>([
  ['a path to go back to', (text) => parseReturnUrl(text, new Set([comparable('/oauth2callback/')])), 2_000],
  ['an Accept header', (text) => isNavigation(request({ accept: text }))],
  ['a Sec-Purpose header', (text) => isPrefetch(request({ 'sec-purpose': text }))],
  ['the header of a sealed value', readHeader],
  ['scopes of an answer', readScopes],
  [
    'a challenge of an API',
    (text) => challengeFrom(new Response(null, { status: 401, headers: { 'www-authenticate': text } })),
  ],
])('M3: %s takes time in proportion to its length', (_name, parse, limit = 16_000) => {
  for (const [start, piece] of hostile) {
    const made = (length: number) => `${(start + piece.repeat(length / piece.length)).trim()}\u00e9x`
    const texts = new Map([limit / 4, limit].map((length) => [length, made(length)]))
    expect(
      growsSlowly((length) => parse(texts.get(length) as string), limit),
      JSON.stringify([start, piece]),
    ).toBe(true)
  }
})
