import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import { type LocalServerFlowOptions, runLocalServerFlow } from '../../src/installed/index.js'
import { Browser, type Page } from '../helpers/browser.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

let provider: ScriptedProvider
beforeEach(async () => {
  provider = await startScriptedProvider({ clientSecret: null })
})
afterEach(() => provider.close())

const options = (more: Partial<LocalServerFlowOptions> = {}): LocalServerFlowOptions => ({
  provider: { issuer: provider.issuer },
  clientId: provider.clientId,
  openBrowser: false,
  ...more,
})

/** Runs the flow with somebody who does what `person` does, and gives what they saw at the end. */
async function withPerson(
  more: Partial<LocalServerFlowOptions> = {},
  person: (url: string, browser: Browser) => Promise<Page> = (url, browser) => browser.goto(url),
) {
  const browser = new Browser()
  let page: Promise<Page> | undefined
  const urls: string[] = []
  const onUrl = (url: string) => {
    urls.push(url)
    page = person(url, browser)
    page.catch(() => {})
  }
  const outcome = await runLocalServerFlow(options({ onUrl, ...more })).catch((error: unknown) => error)
  return { outcome, page: await page, urls, browser }
}

/** The address that the provider sends the browser back to. */
async function comingBack(url: string, browser = new Browser()): Promise<URL> {
  const page = await browser.goto(url, { stopAt: (next) => next.hostname === '127.0.0.1' && next.search !== '' })
  return new URL(page.location as string)
}

function refusesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(socket.destroy() && false))
    socket.once('error', () => resolve(true))
  })
}

/** One request as it is written, whatever a browser would make of it. */
function raw(url: string | URL, init: { method?: string; headers?: Record<string, string> } = {}) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const sent = httpRequest(url, { agent: false, ...init }, (response: IncomingMessage) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    sent.on('error', reject).end()
  })
}

describe('L7: the whole way', () => {
  test('IA-1, TL-2: a real port, the redirect URI with a slash, PKCE, and the verifier sent with the code', async () => {
    const { outcome, page, urls } = await withPerson({ scopes: ['openid', 'email', 'files.read'] })
    expect(outcome).toBeInstanceOf(Credentials)
    expect(outcome).toMatchObject({
      userId: 'sub-alice',
      email: 'alice@example.com',
      scopes: ['openid', 'email', 'files.read'],
      issuer: provider.issuer,
      clientId: provider.clientId,
    })
    expect((outcome as Credentials).refreshToken).toBeTruthy()
    const asked = new URL(urls[0] as string).searchParams
    expect(asked.get('redirect_uri')).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    expect(asked.get('code_challenge_method')).toBe('S256')
    expect(asked.get('state')).toBeTruthy()
    expect(asked.get('nonce')).toBeTruthy()
    const exchange = provider.requests.find(({ endpoint }) => endpoint === 'token')
    expect(exchange?.params).toMatchObject({
      redirect_uri: asked.get('redirect_uri'),
      code_verifier: expect.any(String),
      client_id: provider.clientId,
    })
    expect(page).toMatchObject({ status: 200 })
    expect(page?.body).toContain('You are signed in')
    expect(page?.headers.get('cache-control')).toBe('no-store')
    expect(page?.headers.get('referrer-policy')).toBe('no-referrer')
  })

  test('IA-2: a path of its own, or none: the redirect URI is the same text in both requests', async () => {
    for (const [path, end] of [
      ['', /:\d+$/],
      ['/oauth/done', /:\d+\/oauth\/done$/],
    ] as const) {
      const { outcome, urls } = await withPerson({ path })
      expect(outcome).toBeInstanceOf(Credentials)
      expect(new URL(urls[0] as string).searchParams.get('redirect_uri')).toMatch(end)
      expect(provider.requests.findLast(({ endpoint }) => endpoint === 'token')?.params.redirect_uri).toMatch(end)
    }
  })

  test('FW-1, FW-6: further parameters and a login hint are passed through, those of the flow cannot be set', async () => {
    const { urls } = await withPerson({ loginHint: 'alice@example.com', authorizationParams: { hd: 'example.com' } })
    const asked = new URL(urls[0] as string).searchParams
    expect(asked.get('login_hint')).toBe('alice@example.com')
    expect(asked.get('hd')).toBe('example.com')
    await expect(runLocalServerFlow(options({ authorizationParams: { state: 'mine' } }))).rejects.toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
    })
  })

  test('what was granted counts, not what was asked for', async () => {
    provider.grant = (requested) => requested.filter((scope) => scope !== 'files.read')
    const { outcome } = await withPerson({ scopes: 'openid files.read' })
    expect((outcome as Credentials).scopes).toEqual(['openid'])
  })

  test('a provider without ID tokens: its preset says who it is, and which scopes that takes', async () => {
    const { outcome } = await withPerson({
      provider: {
        issuer: provider.issuer,
        authorization_endpoint: `${provider.issuer}/authorize`,
        token_endpoint: `${provider.issuer}/token`,
        identityScopes: ['who'],
        identity: async () => ({ id: 'number-7', email: 'seven@example.com', claims: { name: 'Seven' } }),
      },
      scopes: 'files.read',
    })
    expect(outcome).toMatchObject({
      userId: 'number-7',
      email: 'seven@example.com',
      claims: { name: 'Seven' },
      scopes: ['files.read', 'who'],
    })
  })

  test('[::1] and localhost are listened on too', async () => {
    for (const host of ['[::1]', '::1', 'localhost']) {
      const { outcome, urls } = await withPerson({ host })
      expect(outcome).toBeInstanceOf(Credentials)
      const redirect = new URL(new URL(urls[0] as string).searchParams.get('redirect_uri') as string)
      expect(redirect.hostname).toBe(host === 'localhost' ? host : '[::1]')
    }
  })

  test('IA-4: it can listen elsewhere than the redirect URI says, for containers', async () => {
    const { outcome, urls } = await withPerson({ bindAddress: '0.0.0.0' })
    expect(outcome).toBeInstanceOf(Credentials)
    expect(new URL(urls[0] as string).searchParams.get('redirect_uri')).toMatch(/^http:\/\/127\.0\.0\.1:/)
  })
})

describe('L7: strays do not end the wait', () => {
  test.each<[string, (back: URL) => Promise<{ status: number; body: string }>, number]>([
    ['an icon', (back) => raw(new URL('/favicon.ico', back)), 404],
    ['another path', (back) => raw(`${back.origin}/callback${back.search}`), 404],
    ['no state', (back) => raw(`${back.origin}/?code=stolen`), 404],
    ['another state', (back) => raw(`${back.origin}/?code=stolen&state=${'x'.repeat(43)}`), 404],
    ['an error with another state', (back) => raw(`${back.origin}/?error=access_denied&state=x`), 404],
    ['the state twice', (back) => raw(`${back.href}&state=${back.searchParams.get('state')}`), 404],
    ['HEAD', (back) => raw(back, { method: 'HEAD' }), 405],
    ['POST', (back) => raw(back, { method: 'POST' }), 405],
    ['a rebound host name', (back) => raw(back, { headers: { host: `evil.example:${back.port}` } }), 404],
    ['another port in Host', (back) => raw(back, { headers: { host: '127.0.0.1:1' } }), 404],
  ])('%s', async (_, stray, status) => {
    let answered: { status: number; body: string } | undefined
    const { outcome } = await withPerson({}, async (url, browser) => {
      const back = await comingBack(url, browser)
      answered = await stray(back)
      expect(provider.count('token')).toBe(0)
      return browser.goto(back)
    })
    expect(answered?.status).toBe(status)
    expect(answered?.body ?? '').not.toContain('stolen')
    expect(outcome).toBeInstanceOf(Credentials)
  })

  test('a reload gets the same page, and the code is sent once', async () => {
    const hold = provider.hold('token', 'before')
    const { outcome, page } = await withPerson({}, async (url, browser) => {
      const back = await comingBack(url, browser)
      const both = [browser.goto(back), browser.goto(back)]
      await hold.arrived()
      hold.release()
      const [first, second] = await Promise.all(both)
      expect(second?.status).toBe(200)
      return first as Page
    })
    expect(outcome).toBeInstanceOf(Credentials)
    expect(page?.status).toBe(200)
    expect(provider.count('token')).toBe(1)
  })
})

describe('TL-3: what ends badly says so, in the browser and to the program', () => {
  test('the person refuses', async () => {
    provider.authorizeAnswer = ({ state }) => ({ error: 'access_denied', state: state as string, iss: provider.issuer })
    const { outcome, page } = await withPerson({ failurePage: 'Not this time.' })
    expect(outcome).toMatchObject({ code: 'FST_OAUTH2_ACCESS_DENIED' })
    expect(page).toMatchObject({ status: 403 })
    expect(page?.body).toContain('Not this time.')
    expect(page?.body).not.toContain('signed in')
  })

  test('no code', async () => {
    provider.authorizeAnswer = ({ state }) => ({ state: state as string, iss: provider.issuer })
    const { outcome, page } = await withPerson()
    expect(outcome).toMatchObject({ code: expect.stringMatching(/^FST_OAUTH2_(STATE_INVALID|EXCHANGE_FAILED)$/) })
    expect(page?.status).toBe(400)
  })

  test('another issuer answers', async () => {
    provider.authorizeAnswer = (_, defaults) => ({ ...defaults(), iss: 'https://attacker.example' })
    const { outcome } = await withPerson()
    expect(outcome).toMatchObject({ code: 'FST_OAUTH2_STATE_INVALID' })
    expect(provider.count('token')).toBe(0)
  })

  test.each([
    [400, 'invalid_grant', 'FST_OAUTH2_EXCHANGE_FAILED'],
    [401, 'invalid_client', 'FST_OAUTH2_CLIENT_REJECTED'],
    [503, 'temporarily_unavailable', 'FST_OAUTH2_PROVIDER_UNAVAILABLE'],
  ])('the exchange fails: %s %s', async (status, error, code) => {
    provider.tokenAnswer = () => ({ status, body: { error } })
    const { outcome, page } = await withPerson()
    expect(outcome).toMatchObject({ code })
    expect(page?.status).toBe(400)
    expect(page?.body).not.toContain(error)
  })

  test('the ID token has another nonce', async () => {
    provider.idTokenClaims = (claims) => ({ ...claims, nonce: 'another' })
    expect((await withPerson()).outcome).toMatchObject({ code: 'FST_OAUTH2_EXCHANGE_FAILED' })
  })

  test('the provider cannot be reached', async () => {
    await provider.close()
    await expect(runLocalServerFlow(options())).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
  })
})

async function busyPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('L7: ports', () => {
  test('IA-5, TL-4: all ports busy is an error at once, before any browser', async () => {
    const ports = [await busyPort(), await busyPort()]
    const shown: string[] = []
    await expect(
      runLocalServerFlow(options({ ports, onUrl: (url) => shown.push(url), openBrowser: (url) => shown.push(url) })),
    ).rejects.toMatchObject({
      code: 'FST_OAUTH2_LOOPBACK_UNAVAILABLE',
      message: expect.stringContaining(`port ${ports[0]}, port ${ports[1]} on 127.0.0.1 (EADDRINUSE)`),
    })
    expect(shown).toEqual([])
    expect(provider.requests).toEqual([])
  })

  test('the first free port of the list is taken', async () => {
    const { outcome } = await withPerson({ ports: [await busyPort(), 0] })
    expect(outcome).toBeInstanceOf(Credentials)
  })

  test('IA-6, TL-1: the port is free again, whatever happened', async () => {
    const portOf = (url: string) => Number(new URL(new URL(url).searchParams.get('redirect_uri') as string).port)
    const { outcome, urls } = await withPerson()
    expect(outcome).toBeInstanceOf(Credentials)
    expect(await refusesConnections(portOf(urls[0] as string))).toBe(true)

    let failed = ''
    const broken = (url: string) => {
      failed = url
      throw new Error('no browser')
    }
    await expect(runLocalServerFlow(options({ openBrowser: broken }))).rejects.toThrow('no browser')
    expect(await refusesConnections(portOf(failed))).toBe(true)
  })

  test('a connection that a browser opened ahead of time does not hold the end up', async () => {
    const { outcome, urls } = await withPerson({}, async (url, browser) => {
      const back = await comingBack(url, browser)
      const idle = connect(Number(back.port), '127.0.0.1')
      idle.on('error', () => {})
      await new Promise((resolve) => idle.once('connect', resolve))
      return browser.goto(back)
    })
    expect(outcome).toBeInstanceOf(Credentials)
    expect(urls).toHaveLength(1)
  })
})

describe('the browser', () => {
  test('IA-3, IA-7: with openBrowser: false none is opened, and the URL is given exactly once', async () => {
    const { urls } = await withPerson({ openBrowser: false })
    expect(urls).toHaveLength(1)
  })

  test('one that cannot be opened is no end where the URL was given too', async () => {
    const { outcome } = await withPerson({
      openBrowser: () => {
        throw new Error('no display')
      },
    })
    expect(outcome).toBeInstanceOf(Credentials)
  })

  test('an answer that comes before the browser is done opening counts', async () => {
    const browser = new Browser()
    const credentials = await runLocalServerFlow(
      options({ openBrowser: (url) => browser.goto(url).then(() => new Promise(() => {})) }),
    )
    expect(credentials.userId).toBe('sub-alice')
  })

  test('pages of the program: text is escaped, a document is sent as it is', async () => {
    const { page } = await withPerson({ successPage: 'Back to <b>acme</b>' })
    expect(page?.body).toContain('Back to &#60;b&#62;acme')
    expect(page?.headers.get('content-security-policy')).toContain("default-src 'none'")
    const document = '<!doctype html><title>Acme</title><script>close()</script>'
    const own = await withPerson({ successPage: document })
    expect(own.page?.body).toBe(document)
  })
})

const aborted = (cause: unknown) => ({ code: 'FST_OAUTH2_FLOW_ABORTED', cause })

describe('the end of the wait', () => {
  test('IA-8: nobody comes back in time', async () => {
    let url = ''
    const waiting = runLocalServerFlow(
      options({
        timeout: 50,
        onUrl: (shown) => {
          url = shown
        },
      }),
    )
    await expect(waiting).rejects.toMatchObject({ code: 'FST_OAUTH2_AUTHORIZATION_TIMEOUT' })
    const redirect = new URL(new URL(url).searchParams.get('redirect_uri') as string)
    expect(await refusesConnections(Number(redirect.port))).toBe(true)
  })

  test('an abort, before and while it waits', async () => {
    const reason = new Error('changed my mind')
    await expect(runLocalServerFlow(options({ signal: AbortSignal.abort(reason) }))).rejects.toMatchObject(
      aborted(reason),
    )
    const controller = new AbortController()
    await expect(
      runLocalServerFlow(options({ signal: controller.signal, onUrl: () => controller.abort(reason) })),
    ).rejects.toMatchObject(aborted(reason))
    expect(provider.count('token')).toBe(0)
  })

  test('an abort after the code was sent does not lose what comes back', async () => {
    const controller = new AbortController()
    const hold = provider.hold('token', 'before')
    const { outcome } = await withPerson({ signal: controller.signal }, async (url, browser) => {
      const page = browser.goto(url)
      await hold.arrived()
      controller.abort()
      hold.release()
      return page
    })
    expect(outcome).toBeInstanceOf(Credentials)
  })

  test.each([0, 1.5, -1, Number.NaN, 2 ** 31])('a timeout of %s is refused', async (timeout) => {
    await expect(runLocalServerFlow(options({ timeout }))).rejects.toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
  })
})

describe('client secrets files', () => {
  async function secretsFile(redirectUris: string[] | undefined): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'secrets-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const path = join(folder, 'client_secrets.json')
    const installed = {
      client_id: provider.clientId,
      auth_uri: `${provider.issuer}/authorize`,
      token_uri: `${provider.issuer}/token`,
      redirect_uris: redirectUris,
    }
    await writeFile(path, JSON.stringify({ installed }))
    return path
  }

  test('CS-3: one without secret and redirect URIs will do', async () => {
    const { outcome } = await withPerson({ clientSecretsFile: await secretsFile(undefined) })
    expect(outcome).toBeInstanceOf(Credentials)
  })

  test('the registered redirect URI says host and path, and leaves the port open', async () => {
    const { urls } = await withPerson({
      clientSecretsFile: await secretsFile(['urn:ietf:wg:oauth:2.0:oob', 'http://localhost']),
    })
    expect(new URL(urls[0] as string).searchParams.get('redirect_uri')).toMatch(/^http:\/\/localhost:\d+$/)
  })

  test('registered ports are tried in their order', async () => {
    const [busy, free] = [await busyPort(), await freePort()]
    const { urls } = await withPerson({
      clientSecretsFile: await secretsFile([`http://127.0.0.1:${busy}/cb`, `http://127.0.0.1:${free}/cb`]),
    })
    expect(new URL(urls[0] as string).searchParams.get('redirect_uri')).toBe(`http://127.0.0.1:${free}/cb`)
  })

  test('one for a web server is refused with what to do', async () => {
    const clientSecretsFile = await secretsFile(['https://app.example.com/oauth2callback'])
    await expect(runLocalServerFlow(options({ clientSecretsFile }))).rejects.toMatchObject({
      code: 'FST_OAUTH2_CLIENT_SECRETS_INVALID',
      message: expect.stringContaining('add http://127.0.0.1/'),
    })
  })
})

test.each([
  ['host', { host: 'app.example.com' }],
  ['ports', { ports: [] }],
  ['ports', { ports: [70_000] }],
  ['path', { path: 'callback' }],
  ['path', { path: '/?x' }],
  ['clientId', { clientId: '' }],
])('a wrong %s is refused before anything is opened', async (name, wrong) => {
  await expect(runLocalServerFlow(options(wrong))).rejects.toMatchObject({
    code: 'FST_OAUTH2_OPTION_INVALID',
    message: expect.stringContaining(`"${name}"`),
  })
})

test.each(['successPage', 'failurePage'] as const)(
  'a %s that is no text is said before anything is opened',
  async (name) => {
    const pages = { [name]: { title: 'Done' } } as unknown as Partial<LocalServerFlowOptions>
    const { outcome, urls } = await withPerson(pages)
    expect(outcome).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(`"${name}"`) })
    expect(urls).toEqual([])
  },
)
