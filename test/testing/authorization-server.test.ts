import { createHash, randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../../src/testing/index.js'

const FILES = 'https://api.example.test/auth/files.read'
const MAIL = 'mail.read'
const CALLBACK = 'http://localhost:9/callback'

// Some notices are printed once in the life of a process, so listen from the start.
const printed = (['log', 'info', 'warn', 'error'] as const).map((name) => vi.spyOn(console, name))

const running: AuthorizationServer[] = []

async function start(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer({
    scopes: { [FILES]: { description: 'See your <files>' }, [MAIL]: {}, fixed: { required: true } },
    api: {
      '/files': { scope: FILES, body: (user) => ({ owner: user.name }) },
      '/mail': { scope: MAIL, body: ['hello'] },
    },
    ...options,
  })
  running.push(server)
  return server
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()))
})

/** A page as a browser shows it. */
interface Page {
  readonly url: URL
  readonly status: number
  readonly html: string
  readonly headers: Headers
}

/** Follows redirects and keeps cookies by host and path, and stops at the application's redirect URI. */
class Browser {
  readonly #cookies = new Map<string, { name: string; value: string; path: string; host: string }>()

  async open(url: string | URL, init: RequestInit = {}): Promise<Page> {
    const target = new URL(url)
    if (target.port === '9') return { url: target, status: 0, html: '', headers: new Headers() }
    const cookie = [...this.#cookies.values()]
      .filter(({ host, path }) => host === target.hostname && target.pathname.startsWith(path))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
    const response = await fetch(target, { ...init, redirect: 'manual', headers: { ...init.headers, cookie } })
    for (const line of response.headers.getSetCookie()) this.#keep(line, target)
    const html = await response.text()
    const location = response.headers.get('location')
    if (location === null) return { url: target, status: response.status, html, headers: response.headers }
    expect(response.status).toBe(303)
    return this.open(new URL(location, target))
  }

  /** Sends a form of the page as it is, with these fields changed (`undefined` leaves a field out). */
  submit(page: Page, fields: Record<string, string | string[] | undefined> = {}, index = 0, headers = {}) {
    const form = [...page.html.matchAll(/<form method="post" action="([^"]*)">([\s\S]*?)<\/form>/g)][index]
    if (form === undefined) throw new Error(`no form ${index} on the page: ${page.html}`)
    const body = new URLSearchParams()
    for (const [input] of (form[2] ?? '').matchAll(/<input\b[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(input)?.[1] ?? ''
      if (name in fields || (input.includes('type="checkbox"') && !input.includes(' checked'))) continue
      body.append(name, /value="([^"]*)"/.exec(input)?.[1] ?? '')
    }
    for (const [name, values] of Object.entries(fields)) {
      for (const value of [values ?? []].flat()) body.append(name, value)
    }
    return this.open(new URL(form[1] ?? '', page.url), { method: 'POST', body, headers })
  }

  async signIn(page: Page, username: string): Promise<Page> {
    expect(page.html).toContain('name="password"')
    return this.submit(page, { username, password: 'password' })
  }

  get cookieNames(): string[] {
    return [...new Set([...this.#cookies.values()].map(({ name }) => name))]
  }

  #keep(line: string, { hostname: host }: URL) {
    const [pair = '', ...attributes] = line.split(/; */)
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    const path = attributes.find((each) => each.toLowerCase().startsWith('path='))?.slice(5) ?? '/'
    const key = `${host} ${path} ${name}`
    if (value === '') this.#cookies.delete(key)
    else this.#cookies.set(key, { name, value, path, host })
  }
}

interface Started {
  readonly url: URL
  readonly verifier: string
  readonly redirectUri: string
}

function authorizationUrl(server: AuthorizationServer, params: Record<string, string> = {}): Started {
  const verifier = randomBytes(32).toString('base64url')
  const url = new URL('/auth', server.issuer)
  const all = {
    client_id: server.clientId,
    response_type: 'code',
    redirect_uri: CALLBACK,
    scope: 'openid email profile',
    state: 'state-1',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...params,
  }
  url.search = new URLSearchParams(all).toString()
  return { url, verifier, redirectUri: all.redirect_uri }
}

// biome-ignore lint/suspicious/noExplicitAny: whatever JSON a server answered
type Json = any

function tokenRequest(server: AuthorizationServer, params: Record<string, string>, init: RequestInit = {}) {
  const authorization = `Basic ${btoa(`${server.clientId}:${server.clientSecret}`)}`
  const body = new URLSearchParams(params)
  return fetch(new URL('/token', server.issuer), { method: 'POST', headers: { authorization }, body, ...init })
}

async function exchange(server: AuthorizationServer, started: Started, callback: Page): Promise<Json> {
  const code = callback.url.searchParams.get('code')
  if (code === null) throw new Error(`no code: ${callback.url} ${callback.html}`)
  const response = await tokenRequest(server, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: started.redirectUri,
    code_verifier: started.verifier,
  })
  return { status: response.status, ...((await response.json()) as object) }
}

async function refresh(server: AuthorizationServer, refreshToken: string): Promise<Json> {
  const response = await tokenRequest(server, { grant_type: 'refresh_token', refresh_token: refreshToken })
  return { status: response.status, ...((await response.json()) as object) }
}

/** The whole flow without pages; needs `autoApprove`. */
async function obtain(server: AuthorizationServer, params: Record<string, string> = {}): Promise<Json> {
  const started = authorizationUrl(server, params)
  return exchange(server, started, await new Browser().open(started.url))
}

const callApi = (server: AuthorizationServer, path: string, token?: string) =>
  fetch(new URL(path, server.issuer), { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })

const scopesOf = (tokens: Json): string[] => tokens.scope.split(' ').sort()

describe('discovery', () => {
  it('advertises what clients look for', async () => {
    const server = await start()
    const metadata: Json = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
    expect(metadata).toMatchObject({
      issuer: server.issuer,
      authorization_response_iss_parameter_supported: true,
      code_challenge_methods_supported: ['S256'],
      authorization_endpoint: `${server.issuer}/auth`,
      token_endpoint: `${server.issuer}/token`,
      revocation_endpoint: `${server.issuer}/token/revocation`,
      introspection_endpoint: `${server.issuer}/token/introspection`,
      end_session_endpoint: `${server.issuer}/session/end`,
      userinfo_endpoint: `${server.issuer}/me`,
    })
    expect(metadata.scopes_supported).toEqual(['openid', 'profile', 'email', 'offline_access', FILES, MAIL, 'fixed'])
  })

  it('uses the host name and the port it is given', async () => {
    const first = await start({ hostname: '127.0.0.1' })
    const { port } = new URL(first.issuer)
    expect(first.issuer).toBe(`http://127.0.0.1:${port}`)
    await expect(start({ port: Number(port) })).rejects.toThrow('EADDRINUSE')
    await first.close()
    expect((await start({ port: Number(port) })).issuer).toBe(`http://localhost:${port}`)
  })
})

describe('the pages', () => {
  it('lead through sign-in and consent to tokens', async () => {
    const server = await start()
    const browser = new Browser()
    const started = authorizationUrl(server, { scope: `openid email profile fixed ${FILES} unknown`, nonce: 'n-1' })

    const signIn = await browser.open(started.url)
    expect(signIn.headers.get('content-type')).toContain('text/html')
    expect(signIn.html).toContain('<label')
    expect(signIn.html).toContain('local test server')
    const consent = await browser.signIn(signIn, 'alice')
    expect(consent.html).toContain('example-client wants access')
    expect(consent.html).toContain('alice@example.test')
    expect(consent.html).toContain('See your &lt;files&gt;')
    expect([...consent.html.matchAll(/name="scope" value="([^"]*)" checked/g)].map(([, scope]) => scope)).toEqual([
      FILES,
    ])
    const callback = await browser.submit(consent)
    expect(Object.fromEntries(callback.url.searchParams)).toMatchObject({ state: 'state-1', iss: server.issuer })

    const tokens = await exchange(server, started, callback)
    expect(scopesOf(tokens)).toEqual(['email', 'fixed', FILES, 'openid', 'profile'].sort())
    expect(tokens).toMatchObject({ status: 200, token_type: 'Bearer', expires_in: 3600 })
    const keys = createRemoteJWKSet(new URL('/jwks', server.issuer))
    const { payload } = await jwtVerify(tokens.id_token, keys, { issuer: server.issuer, audience: server.clientId })
    expect(payload).toMatchObject({
      sub: 'sub-alice',
      email: 'alice@example.test',
      email_verified: true,
      name: 'alice',
      nonce: 'n-1',
    })
    const userinfo = await callApi(server, '/me', tokens.access_token)
    expect(await userinfo.json()).toMatchObject({ sub: 'sub-alice', email: 'alice@example.test' })
  })

  it('send strict headers that still let the forms return to the application', async () => {
    const server = await start()
    const page = await new Browser().open(authorizationUrl(server).url)
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("form-action 'self' http://localhost:9")
    expect(policy).not.toContain('unsafe')
    const style = /<style>([\s\S]*?)<\/style>/.exec(page.html)?.[1] ?? ''
    expect(policy).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`)
    expect(page.html).not.toMatch(/<script|style="/)
    expect(page.headers.get('cache-control')).toBe('no-store')
  })

  it('use cookies that no application is likely to use', async () => {
    const browser = new Browser()
    const server = await start()
    await browser.signIn(await browser.open(authorizationUrl(server).url), 'alice')
    expect(browser.cookieNames.length).toBeGreaterThan(2)
    expect(browser.cookieNames.filter((name) => !name.startsWith('as_'))).toEqual([])
  })

  it('show the sign-in form again after a wrong password or without a name', async () => {
    const server = await start()
    const browser = new Browser()
    const page = await browser.open(authorizationUrl(server).url)
    const wrong = await browser.submit(page, { username: '"><b>eve', password: 'secret' })
    expect(wrong.status).toBe(200)
    expect(wrong.html).toContain('role="alert"')
    expect(wrong.html).toContain('value="&quot;&gt;&lt;b&gt;eve"')
    const nameless = await browser.submit(wrong, { username: ' ', password: 'password' })
    expect(nameless.html).toContain('Type a user name.')
    expect((await browser.signIn(nameless, 'eve')).html).toContain('wants access')
  })

  it('prefill the name from login_hint, be it a name or an address', async () => {
    const server = await start()
    for (const login_hint of ['bob', 'bob@example.test']) {
      const page = await new Browser().open(authorizationUrl(server, { login_hint }).url)
      expect(page.html).toContain('value="bob"')
    }
  })

  it('are skipped for a signed-in user with nothing new to ask', async () => {
    const server = await start()
    const browser = new Browser()
    await browser.submit(await browser.signIn(await browser.open(authorizationUrl(server).url), 'alice'))
    const again = await browser.open(authorizationUrl(server).url)
    expect(again.url.searchParams.has('code')).toBe(true)
  })

  it.each(['login', 'select_account'])(
    'ask to sign in again with prompt=%s, as somebody else if need be',
    async (prompt) => {
      const server = await start()
      const browser = new Browser()
      await browser.submit(await browser.signIn(await browser.open(authorizationUrl(server).url), 'alice'))
      const started = authorizationUrl(server, { prompt })
      const consent = await browser.signIn(await browser.open(started.url), 'bob')
      expect(consent.html).toContain('bob@example.test')
      const tokens = await exchange(server, started, await browser.submit(consent))
      expect(await (await callApi(server, '/me', tokens.access_token)).json()).toMatchObject({ sub: 'sub-bob' })
    },
  )

  it('refuse everything with the second form', async () => {
    const server = await start()
    const browser = new Browser()
    const consent = await browser.signIn(await browser.open(authorizationUrl(server).url), 'alice')
    const { searchParams } = (await browser.submit(consent, {}, 1)).url
    expect(Object.fromEntries(searchParams)).toMatchObject({
      error: 'access_denied',
      state: 'state-1',
      iss: server.issuer,
    })
  })

  it('refuse when every single scope was unticked', async () => {
    const server = await start()
    const browser = new Browser()
    const consent = await browser.signIn(await browser.open(authorizationUrl(server, { scope: MAIL }).url), 'alice')
    const callback = await browser.submit(consent, { scope: undefined })
    expect(callback.url.searchParams.get('error')).toBe('access_denied')
  })

  it('take no form from another browser or another site', async () => {
    const server = await start()
    const browser = new Browser()
    const page = await browser.open(authorizationUrl(server).url)
    const fields = { username: 'alice', password: 'password' }
    expect((await new Browser().submit(page, fields)).status).toBe(400)
    expect((await browser.submit(page, fields, 0, { origin: 'http://evil.example' })).status).toBe(403)
    expect((await browser.submit(page, fields, 0, { origin: server.issuer })).html).toContain('wants access')
  })

  it('explain errors that cannot go back to the application', async () => {
    const server = await start()
    const page = await new Browser().open(authorizationUrl(server, { redirect_uri: 'https://evil.example/' }).url, {
      headers: { accept: 'text/html' },
    })
    expect(page.status).toBe(400)
    expect(page.html).toContain('invalid_redirect_uri')
    expect(page.html).not.toContain('node_modules')
  })

  it('sign out and return to the application', async () => {
    const server = await start()
    const browser = new Browser()
    const started = authorizationUrl(server)
    const consent = await browser.signIn(await browser.open(started.url), 'alice')
    const tokens = await exchange(server, started, await browser.submit(consent))
    const url = new URL('/session/end', server.issuer)
    url.search = new URLSearchParams({
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: 'http://localhost:9/bye',
      state: 's-2',
    }).toString()
    const signedOut = await browser.submit(await browser.open(url))
    expect(signedOut.url.href).toBe('http://localhost:9/bye?state=s-2')
    expect((await browser.open(authorizationUrl(server).url)).html).toContain('name="password"')
    expect((await callApi(server, '/me', tokens.access_token)).status).toBe(200)
  })

  it('say so after signing out without a place to return to', async () => {
    const server = await start()
    const browser = new Browser()
    await browser.signIn(await browser.open(authorizationUrl(server).url), 'alice')
    const page = await browser.submit(await browser.open(new URL('/session/end', server.issuer)))
    expect(page.html).toContain('Signed out')
  })
})

describe('autoApprove', () => {
  it('answers the authorization request itself with a code', async () => {
    const server = await start({ autoApprove: { user: 'alice', decline: [MAIL, 'fixed'] } })
    const started = authorizationUrl(server, { scope: `openid fixed ${FILES} ${MAIL}`, prompt: 'consent' })
    const response = await fetch(started.url, { redirect: 'manual' })
    expect(response.status).toBe(303)
    const location = new URL(response.headers.get('location') ?? '')
    const tokens = await exchange(server, started, { url: location, status: 0, html: '', headers: new Headers() })
    expect(scopesOf(tokens)).toEqual(['fixed', FILES, 'openid'].sort())
    expect(server.authorizationRequests).toHaveLength(1)
    expect(server.authorizationRequests[0]).toMatchObject({ client_id: server.clientId, prompt: 'consent' })
  })

  it('can be switched to another user, to refusing and off', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const browser = new Browser()
    const subject = async () => {
      const started = authorizationUrl(server, { prompt: 'select_account' })
      const tokens = await exchange(server, started, await browser.open(started.url))
      return ((await (await callApi(server, '/me', tokens.access_token)).json()) as Json).sub
    }
    expect(await subject()).toBe('sub-alice')
    server.autoApprove = { user: 'bob' }
    expect(await subject()).toBe('sub-bob')
    server.autoApprove = { user: 'bob', refuse: true }
    const refused = await browser.open(authorizationUrl(server).url)
    expect(refused.url.searchParams.get('error')).toBe('access_denied')
    server.autoApprove = undefined
    expect((await browser.open(authorizationUrl(server, { prompt: 'login' }).url)).html).toContain('name="password"')
  })

  it('refuses when it declines all that was asked', async () => {
    const server = await start({ autoApprove: { user: 'alice', decline: [MAIL] } })
    const { url } = await new Browser().open(authorizationUrl(server, { scope: MAIL }).url)
    expect(url.searchParams.get('error')).toBe('access_denied')
  })

  it('signs in but does not consent with prompt=none', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const silent = async () =>
      (await new Browser().open(authorizationUrl(server, { prompt: 'none' }).url)).url.searchParams
    expect((await silent()).get('error')).toBe('consent_required')
    await obtain(server)
    expect((await silent()).has('code')).toBe(true)
    server.autoApprove = undefined
    expect((await silent()).get('error')).toBe('login_required')
  })

  it('takes any user name', async () => {
    const server = await start()
    for (const [user, sub] of [
      ['Zoë Ångström', 'sub-Zo%C3%AB%20%C3%85ngstr%C3%B6m'],
      ['carol@example.test', 'sub-carol'],
    ] as const) {
      server.autoApprove = { user }
      const { access_token } = await obtain(server)
      expect(await (await callApi(server, '/me', access_token)).json()).toMatchObject({ sub })
    }
  })
})

describe('with the habits of Google', () => {
  const offline = { access_type: 'offline', include_granted_scopes: 'true' }

  it('grants only what stays ticked, and asks for the rest again', async () => {
    const server = await start()
    const browser = new Browser()
    const scope = `openid ${FILES} ${MAIL}`
    const started = authorizationUrl(server, { scope })
    const consent = await browser.signIn(await browser.open(started.url), 'alice')
    const tokens = await exchange(server, started, await browser.submit(consent, { scope: FILES }))
    expect(scopesOf(tokens)).toEqual([FILES, 'openid'].sort())

    const again = authorizationUrl(server, { scope })
    const second = await browser.open(again.url)
    expect([...second.html.matchAll(/name="scope" value="([^"]*)"/g)].map(([, value]) => value)).toEqual([MAIL])
    expect(scopesOf(await exchange(server, again, await browser.submit(second)))).toEqual(
      [FILES, MAIL, 'openid'].sort(),
    )
    expect((await browser.open(authorizationUrl(server, { scope }).url)).url.searchParams.has('code')).toBe(true)
  })

  it('joins earlier grants with include_granted_scopes only', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    await obtain(server, { scope: `openid ${FILES}` })
    expect(scopesOf(await obtain(server, { scope: `openid ${MAIL}` }))).toEqual([MAIL, 'openid'].sort())
    const joined = await obtain(server, { scope: 'openid email', include_granted_scopes: 'true' })
    expect(scopesOf(joined)).toEqual(['email', FILES, MAIL, 'openid'].sort())
    server.autoApprove = { user: 'bob' }
    expect(scopesOf(await obtain(server, { scope: 'openid', include_granted_scopes: 'true' }))).toEqual(['openid'])
  })

  it('joins earlier grants through the pages as well', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    await obtain(server, { scope: `openid ${FILES}` })
    server.autoApprove = undefined
    const browser = new Browser()
    const started = authorizationUrl(server, { scope: `openid ${MAIL}`, include_granted_scopes: 'true' })
    const consent = await browser.signIn(await browser.open(started.url), 'alice')
    expect(consent.html).not.toContain(`value="${FILES}"`)
    const tokens = await exchange(server, started, await browser.submit(consent))
    expect(scopesOf(tokens)).toEqual([FILES, MAIL, 'openid'].sort())
  })

  it('issues a refresh token with the first offline consent only', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    expect(await obtain(server, offline)).toHaveProperty('refresh_token')
    expect(await obtain(server, offline)).not.toHaveProperty('refresh_token')
    expect(await obtain(server, { ...offline, scope: `openid ${MAIL}` })).not.toHaveProperty('refresh_token')
    server.autoApprove = { user: 'bob' }
    expect(await obtain(server)).not.toHaveProperty('refresh_token')
    expect(await obtain(server, offline)).not.toHaveProperty('refresh_token')
  })

  it('issues a refresh token again after prompt=consent, which shows the page', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    await obtain(server, { ...offline, scope: `openid ${FILES}` })
    expect(await obtain(server, { ...offline, prompt: 'consent' })).toHaveProperty('refresh_token')
    expect(await obtain(server, { prompt: 'consent' })).not.toHaveProperty('refresh_token')

    server.autoApprove = undefined
    const browser = new Browser()
    const started = authorizationUrl(server, { ...offline, prompt: 'consent', scope: `openid ${FILES}` })
    const consent = await browser.signIn(await browser.open(started.url), 'alice')
    expect(consent.html).toContain('Allowed before')
    expect(consent.html).not.toContain('type="checkbox"')
    expect(await exchange(server, started, await browser.submit(consent))).toHaveProperty('refresh_token')
  })

  it('lets an old refresh token follow what was granted since, without repeating it', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const { refresh_token } = await obtain(server, { ...offline, scope: `openid ${FILES}` })
    await obtain(server, { scope: `openid ${MAIL}` })
    expect(scopesOf(await refresh(server, refresh_token))).toEqual([FILES, 'openid'].sort())
    await obtain(server, { ...offline, scope: `openid ${MAIL}` })
    const tokens = await refresh(server, refresh_token)
    expect(scopesOf(tokens)).toEqual([FILES, MAIL, 'openid'].sort())
    expect(tokens).not.toHaveProperty('refresh_token')
    expect((await refresh(server, refresh_token)).status).toBe(200)
    expect((await callApi(server, '/mail', tokens.access_token)).status).toBe(200)
  })

  it('removes the grant with any of its tokens', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const tokens = await obtain(server, offline)
    const response = await fetch(`${server.issuer}/token/revocation`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${server.clientId}:${server.clientSecret}`)}` },
      body: new URLSearchParams({ token: tokens.access_token }),
    })
    expect(response.status).toBe(200)
    expect(server.revocations).toEqual([tokens.access_token])
    expect(await refresh(server, tokens.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(await obtain(server, offline)).toHaveProperty('refresh_token')
  })
})

describe('without the habits of Google', () => {
  const options = { googleHabits: false, autoApprove: { user: 'alice' } }
  const offline = { scope: `openid offline_access ${FILES}`, prompt: 'consent' }

  it('issues refresh tokens for offline_access with prompt=consent, and repeats them', async () => {
    const server = await start(options)
    expect(await obtain(server, { ...offline, prompt: '' })).not.toHaveProperty('refresh_token')
    expect(await obtain(server, { access_type: 'offline', prompt: 'consent' })).not.toHaveProperty('refresh_token')
    const { refresh_token } = await obtain(server, offline)
    expect(await refresh(server, refresh_token)).toMatchObject({ status: 200, refresh_token })
  })

  it('joins no scopes', async () => {
    const server = await start(options)
    const browser = new Browser()
    for (const scope of [`openid ${FILES}`, `openid ${MAIL}`]) {
      const started = authorizationUrl(server, { scope, include_granted_scopes: 'true' })
      const tokens = await exchange(server, started, await browser.open(started.url))
      expect(scopesOf(tokens)).toEqual(scope.split(' ').sort())
    }
  })

  it('remembers a refusal until prompt=consent', async () => {
    const server = await start({ googleHabits: false })
    const browser = new Browser()
    const scope = `openid ${FILES} ${MAIL}`
    const first = await browser.signIn(await browser.open(authorizationUrl(server, { scope }).url), 'alice')
    await browser.submit(first, { scope: FILES })
    const silent = authorizationUrl(server, { scope })
    expect(scopesOf(await exchange(server, silent, await browser.open(silent.url)))).toEqual([FILES, 'openid'].sort())

    const asked = authorizationUrl(server, { scope, prompt: 'consent' })
    const callback = await browser.submit(await browser.open(asked.url), { scope: MAIL })
    expect(scopesOf(await exchange(server, asked, callback))).toEqual([MAIL, 'openid'].sort())
  })
})

describe('rotation of refresh tokens', () => {
  it('spends a refresh token and revokes the whole family when it comes back', async () => {
    const server = await start({ rotateRefreshTokens: true, autoApprove: { user: 'alice' } })
    const first = await obtain(server, { access_type: 'offline' })
    const second = await refresh(server, first.refresh_token)
    expect(second.status).toBe(200)
    expect(second.refresh_token).not.toBe(first.refresh_token)
    expect(await refresh(server, first.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(await refresh(server, second.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect((await callApi(server, '/me', second.access_token)).status).toBe(401)
  })
})

describe('clients', () => {
  it('without registered URIs may return to any place on this machine, and nowhere else', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const statusFor = async (redirect_uri: string) =>
      (await fetch(authorizationUrl(server, { redirect_uri }).url, { redirect: 'manual' })).status
    expect(await statusFor('http://localhost:1234/any/path?x=1')).toBe(303)
    expect(await statusFor('http://127.0.0.1/')).toBe(303)
    expect(await statusFor('http://[::1]:8080/cb')).toBe(303)
    expect(await statusFor('http://localhost.evil.example/')).toBe(400)
    expect(await statusFor('https://localhost/')).toBe(400)
    expect(await statusFor('http://user@localhost/')).toBe(400)
  })

  it('with registered URIs may use only those', async () => {
    const clients = [{ clientId: 'web', clientSecret: 'web-secret', redirectUris: [CALLBACK] }]
    const server = await start({ clients, autoApprove: { user: 'alice' } })
    expect(server).toMatchObject({ clientId: 'web', clientSecret: 'web-secret' })
    expect(await obtain(server)).toMatchObject({ status: 200 })
    const other = authorizationUrl(server, { redirect_uri: 'http://localhost:9/other' })
    expect((await fetch(other.url, { redirect: 'manual' })).status).toBe(400)
  })

  it('are public without a secret, and must use PKCE', async () => {
    const server = await start({ clients: [{ clientId: 'spa' }], autoApprove: { user: 'alice' } })
    const started = authorizationUrl(server)
    const { url } = await new Browser().open(started.url)
    const response = await tokenRequest(
      server,
      {
        grant_type: 'authorization_code',
        client_id: 'spa',
        code: url.searchParams.get('code') ?? '',
        redirect_uri: CALLBACK,
        code_verifier: started.verifier,
      },
      { headers: {} },
    )
    expect(response.status).toBe(200)
    const bare = authorizationUrl(server).url
    bare.searchParams.delete('code_challenge')
    bare.searchParams.delete('code_challenge_method')
    expect((await new Browser().open(bare)).url.searchParams.get('error')).toBe('invalid_request')
  })

  it('are needed', async () => {
    await expect(start({ clients: [] })).rejects.toThrow('clients must not be empty')
  })
})

describe('protected resources', () => {
  it('answer 401, 403 or the JSON they were given', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const { access_token } = await obtain(server, { scope: `openid ${FILES}` })

    for (const response of [await callApi(server, '/files'), await callApi(server, '/files', 'made-up')]) {
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    }
    const insufficient = await callApi(server, '/mail', access_token)
    expect(insufficient.status).toBe(403)
    expect(insufficient.headers.get('www-authenticate')).toBe(`Bearer error="insufficient_scope", scope="${MAIL}"`)
    const allowed = await callApi(server, '/files?page=2', access_token)
    expect([allowed.status, await allowed.json()]).toEqual([200, { owner: 'alice' }])

    expect(server.apiRequests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /files',
      'GET /files',
      'GET /mail',
      'GET /files',
    ])
    expect(server.apiRequests[3]).toHaveProperty('authorization', `Bearer ${access_token}`)
  })

  it('refuse access tokens after their lifetime', async () => {
    const server = await start({ accessTokenLifetime: 1, autoApprove: { user: 'alice' } })
    const { access_token, expires_in } = await obtain(server, { scope: `openid ${FILES}` })
    expect(expires_in).toBe(1)
    await vi.waitFor(async () => expect((await callApi(server, '/files', access_token)).status).toBe(401), 5000)
  })

  it('refuse access tokens after expireAccessTokens, while refresh tokens stay good', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const tokens = await obtain(server, { scope: `openid ${FILES}`, access_type: 'offline' })
    await server.expireAccessTokens()
    expect((await callApi(server, '/files', tokens.access_token)).status).toBe(401)
    const fresh = await refresh(server, tokens.refresh_token)
    expect((await callApi(server, '/files', fresh.access_token)).status).toBe(200)
  })

  it('refuse everything after revokeGrants, of one user or of all', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const params = { scope: `openid ${FILES}`, access_type: 'offline' }
    const alice = await obtain(server, params)
    server.autoApprove = { user: 'bob' }
    const bob = await obtain(server, params)

    await server.revokeGrants('alice')
    expect(await refresh(server, alice.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect((await callApi(server, '/files', alice.access_token)).status).toBe(401)
    expect((await callApi(server, '/files', bob.access_token)).status).toBe(200)
    await server.revokeGrants()
    expect((await callApi(server, '/files', bob.access_token)).status).toBe(401)
    expect(await obtain(server, params)).toHaveProperty('refresh_token')
  })
})

describe('faults of the token endpoint', () => {
  const grant = { grant_type: 'refresh_token', refresh_token: 'r', scope: 'a b' }

  async function withTokens(options: AuthorizationServerOptions = {}) {
    const server = await start({ autoApprove: { user: 'alice' }, ...options })
    const { refresh_token } = await obtain(server, { access_type: 'offline' })
    return { server, refresh_token: String(refresh_token) }
  }

  it.each([
    ['500', 500, 'text/html'],
    ['503', 503, 'text/html'],
    ['html', 200, 'text/html'],
    ['garbage', 200, 'application/json'],
    ['invalid_client', 401, 'application/json'],
    ['invalid_grant', 400, 'application/json'],
  ] as const)('%s', async (fault, status, type) => {
    const { server, refresh_token } = await withTokens()
    server.faults.token = fault
    for (const _ of [1, 2]) {
      const response = await tokenRequest(server, { grant_type: 'refresh_token', refresh_token })
      expect(response.status).toBe(status)
      expect(response.headers.get('content-type')).toContain(type)
      const text = await response.text()
      if (fault === 'garbage') expect(() => JSON.parse(text)).toThrow()
      if (fault.startsWith('invalid_')) expect(JSON.parse(text)).toEqual({ error: fault })
    }
    server.faults.token = undefined
    expect((await refresh(server, refresh_token)).status).toBe(200)
    expect(server.tokenRequests).toHaveLength(4)
  })

  it('any OAuth error', async () => {
    const server = await start()
    server.faults.token = { error: 'temporarily_unavailable', description: 'later', status: 429 }
    const response = await tokenRequest(server, grant)
    expect([response.status, await response.json()]).toEqual([
      429,
      { error: 'temporarily_unavailable', error_description: 'later' },
    ])
  })

  it('reset', async () => {
    const server = await start({ faults: { token: 'reset' } })
    await expect(tokenRequest(server, grant)).rejects.toThrow('fetch failed')
    expect(server.tokenRequests[0]).toMatchObject({ grantType: 'refresh_token', params: grant })
  })

  it('hang', async () => {
    const { server, refresh_token } = await withTokens()
    server.faults.token = 'hang'
    const signal = AbortSignal.timeout(200)
    await expect(tokenRequest(server, grant, { signal })).rejects.toThrow('timeout')
    server.faults.token = undefined
    expect((await refresh(server, refresh_token)).status).toBe(200)
  })

  it('lost_answer takes effect all the same', async () => {
    const { server, refresh_token } = await withTokens({ rotateRefreshTokens: true })
    server.faults.token = 'lost_answer'
    await expect(refresh(server, refresh_token)).rejects.toThrow('fetch failed')
    server.faults.token = undefined
    expect(await refresh(server, refresh_token)).toMatchObject({ error: 'invalid_grant' })
  })

  it('delay answers rightly, later', async () => {
    const { server, refresh_token } = await withTokens()
    server.faults.token = { delay: 150 }
    const begin = performance.now()
    expect((await refresh(server, refresh_token)).status).toBe(200)
    expect(performance.now() - begin).toBeGreaterThan(140)
  })

  it('tokenOnce goes before token and only once', async () => {
    const { server, refresh_token } = await withTokens()
    server.faults = { token: '500', tokenOnce: '503' }
    const status = async () => (await tokenRequest(server, { grant_type: 'refresh_token', refresh_token })).status
    expect([await status(), await status()]).toEqual([503, 500])
    server.faults = {}
    expect(await status()).toBe(200)
  })
})

describe('faults of other endpoints', () => {
  const PATHS = {
    discovery: '/.well-known/openid-configuration',
    jwks: '/jwks',
    userinfo: '/me',
    api: '/files',
  } as const

  it.each(Object.entries(PATHS))('%s', async (name, path) => {
    const server = await start()
    const endpoint = name as keyof typeof PATHS
    const get = (signal?: AbortSignal) => fetch(server.issuer + path, signal ? { signal } : {})
    const { status } = await get()
    server.faults[endpoint] = 'down'
    await expect(get()).rejects.toThrow('fetch failed')
    server.faults[endpoint] = '500'
    expect((await get()).status).toBe(500)
    server.faults[endpoint] = 'html'
    expect((await get()).headers.get('content-type')).toContain('text/html')
    for (const fault of ['hang', 'slow'] as const) {
      server.faults[endpoint] = fault
      await expect(get(AbortSignal.timeout(100))).rejects.toThrow('timeout')
    }
    server.faults[endpoint] = { delay: 20 }
    expect((await get()).status).toBe(status)
    server.faults[endpoint] = undefined
    expect((await get()).status).toBe(status)
  })

  it('revocation', async () => {
    const server = await start({ autoApprove: { user: 'alice' } })
    const { access_token } = await obtain(server)
    const revoke = () =>
      fetch(`${server.issuer}/token/revocation`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${server.clientId}:${server.clientSecret}`)}` },
        body: new URLSearchParams({ token: access_token }),
      })
    server.faults.revocation = 'down'
    await expect(revoke()).rejects.toThrow('fetch failed')
    expect((await callApi(server, '/me', access_token)).status).toBe(200)
    server.faults.revocation = undefined
    expect((await revoke()).status).toBe(200)
    expect((await callApi(server, '/me', access_token)).status).toBe(401)
    expect(server.revocations).toEqual([access_token, access_token])
  })

  it('slow answers after two seconds', async () => {
    const server = await start({ faults: { discovery: 'slow' } })
    const begin = performance.now()
    expect((await fetch(server.issuer + PATHS.discovery)).status).toBe(200)
    expect(performance.now() - begin).toBeGreaterThan(1900)
  })
})

describe('tweak', () => {
  it('changes token responses while it is set', async () => {
    const server = await start({ autoApprove: { user: 'alice' }, tweak: { omitIdToken: true } })
    const params = { access_type: 'offline', prompt: 'consent' }
    expect(await obtain(server, params)).not.toHaveProperty('id_token')
    server.tweak = { omitRefreshToken: true, omitScope: true, expiresIn: null, set: { token_type: 'mac' } }
    const tweaked = await obtain(server, params)
    expect(Object.keys(tweaked).sort()).toEqual(['access_token', 'id_token', 'status', 'token_type'])
    expect(tweaked.token_type).toBe('mac')
    server.tweak = { expiresIn: 5 }
    expect(await obtain(server, params)).toMatchObject({ expires_in: 5 })
    server.tweak = {}
    expect(await obtain(server, params)).toMatchObject({ expires_in: 3600, refresh_token: expect.any(String) })
  })
})

describe('several servers', () => {
  it('share nothing', async () => {
    const [one, two] = await Promise.all([start({ autoApprove: { user: 'alice' } }), start()])
    const tokens = await obtain(one, { scope: `openid ${FILES}`, access_type: 'offline' })
    expect(two.issuer).not.toBe(one.issuer)
    expect(two.clientSecret).not.toBe(one.clientSecret)
    expect(await (await fetch(`${two.issuer}/jwks`)).text()).not.toBe(await (await fetch(`${one.issuer}/jwks`)).text())
    expect((await callApi(two, '/files', tokens.access_token)).status).toBe(401)
    expect(await refresh(two, tokens.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(one.tokenRequests).toHaveLength(1)
    expect(two.tokenRequests).toHaveLength(1)
    await two.expireAccessTokens()
    await two.revokeGrants()
    await two.close()
    expect((await callApi(one, '/files', tokens.access_token)).status).toBe(200)
  })
})

describe('close', () => {
  it('leaves nothing open, not even what a fault keeps waiting', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length
    const before = sockets()
    const server = await start({ faults: { token: 'hang', discovery: { delay: 60_000 } } })
    const hanging = tokenRequest(server, { grant_type: 'refresh_token' }).catch((error: Error) => error)
    const waiting = fetch(`${server.issuer}/.well-known/openid-configuration`).catch((error: Error) => error)
    await vi.waitFor(() => expect(server.tokenRequests).toHaveLength(1))
    await server.close()
    expect(await hanging).toBeInstanceOf(Error)
    expect(await waiting).toBeInstanceOf(Error)
    await expect(fetch(server.issuer)).rejects.toThrow('fetch failed')
    await vi.waitFor(() => expect(sockets()).toBeLessThanOrEqual(before))
    // Node's own fetch may keep a timer for a moment; that of the fault would be there for a minute.
    const soon = performance.now() + 10_000
    while (process.getActiveResourcesInfo().includes('Timeout') && performance.now() < soon) await setImmediate()
    expect(process.getActiveResourcesInfo()).not.toContain('Timeout')
    await server.close()
  })
})

it('prints nothing, neither here nor in all the tests above', async () => {
  const server = await start({ autoApprove: { user: 'alice' } })
  const tokens = await obtain(server, { access_type: 'offline' })
  await refresh(server, tokens.refresh_token)
  server.faults.token = 'lost_answer'
  await refresh(server, tokens.refresh_token).catch(() => {})
  await fetch(`${server.issuer}/nothing/here`)
  server.autoApprove = undefined
  const browser = new Browser()
  const signIn = await browser.open(authorizationUrl(server).url)
  await browser.submit(signIn, { username: 'x'.repeat(70_000) }).catch(() => {})
  expect(printed.flatMap((spy) => spy.mock.calls)).toEqual([])
})

it('answers whoever asks while it starts', async () => {
  const port = Number(new URL((await start()).issuer).port)
  await Promise.all(running.splice(0).map((server) => server.close()))
  const starting = start({ port })
  const ask = async (): Promise<Response> => {
    const url = `http://127.0.0.1:${port}/.well-known/openid-configuration`
    return fetch(url, { signal: AbortSignal.timeout(4_000) }).catch(async (error) => {
      if (error.cause?.code !== 'ECONNREFUSED') throw error
      await setImmediate()
      return ask()
    })
  }
  expect((await ask()).status).toBe(200)
  await starting
})
