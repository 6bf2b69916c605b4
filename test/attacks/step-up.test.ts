/** J7: an API that wants more than the token it got. RFC 9470, RFC 6750 section 3.1. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { oauthAware, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import type { ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

const JSON_CLIENT = { headers: { accept: 'application/json' } }

/** `/pay` and `/transfer` hand the API's refusals to `stepUp`; `/raw` shows what `fetch` returns. */
function routes(app: FastifyInstance, { issuer }: { readonly issuer: string }): void {
  const call = async ({ oauth2 }: FastifyRequest, path: string) => {
    const response = await oauth2.fetch(issuer + path)
    await oauth2.stepUp(response)
    return { status: response.status, body: await response.json(), claims: oauth2.claims, scopes: oauth2.scopes }
  }
  for (const name of ['pay', 'transfer']) {
    app.get(`/${name}`, { onRequest: requireOAuth() }, (request) => call(request, `/api/${name}`))
    app.post(`/${name}`, { onRequest: requireOAuth() }, (request) => call(request, `/api/${name}`))
  }
  app.get('/raw', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
    const response = await oauth2.fetch(`${issuer}/api/pay`)
    return reply.code(response.status).send(await response.json())
  })
}

const refusal = (challenge: string, status = 401) => ({
  status,
  headers: { 'www-authenticate': challenge },
  body: { error: 'no' },
})
const ACR = 'Bearer error="insufficient_user_authentication", acr_values="phr mfa"'
const FRESH = 'Bearer error="insufficient_user_authentication", max_age=300'
const SCOPE = 'Bearer error="insufficient_scope", scope="files.read"'

/** The API refuses tokens until one came from an authorization request that asked for `param`. */
function satisfiedBy(provider: ScriptedProvider, challenge: string, param: string, status = 401): void {
  provider.apiAnswer = () =>
    asked(provider).some((params) => param in params) ? undefined : refusal(challenge, status)
}

/** ID tokens say how the person signed in: by the first class that was asked for, just now if that was asked for. */
function honest(provider: ScriptedProvider): void {
  provider.idTokenClaims = (claims, { acr_values, max_age }) => ({
    ...claims,
    acr: acr_values?.split(' ')[0] ?? 'pwd',
    auth_time: Number(claims.iat) - (max_age === undefined ? 86_400 : 0),
  })
}

function asked(provider: ScriptedProvider) {
  return provider.requests.filter(({ endpoint }) => endpoint === 'authorize').map(({ params }) => params)
}

describeEachSession((variant) => {
  describe.each(variant.hasStore ? ['memory'] : ['session', 'memory'])('storage: %s', (kind) => {
    const start = async (options: TestAppOptions = {}): Promise<TestApp> => {
      const app = await startApp({
        variant,
        storage: kind === 'session' ? 'session' : memoryStore(),
        routes,
        ...options,
      })
      honest(app.provider)
      return app
    }

    test('J7 a class of authentication is asked for once, and the person comes back to the same page', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      satisfiedBy(provider, ACR, 'acr_values')
      const page = await browser.goto(`${url}/pay?to=bob`)
      expect([page.status, page.url]).toEqual([200, `${url}/pay?to=bob`])
      expect(page.json()).toMatchObject({ status: 200, claims: { acr: 'phr' } })
      expect(asked(provider)).toHaveLength(2)
      expect(asked(provider)[1]).toMatchObject({ acr_values: 'phr mfa', login_hint: 'alice@example.com' })
      expect(asked(provider)[1]).not.toHaveProperty('prompt')
    })

    test('J7 a sign-in that is too old is renewed, and no refresh token is spent on it', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      satisfiedBy(provider, FRESH, 'max_age')
      const page = await browser.goto(`${url}/pay`)
      expect(page.json()).toMatchObject({ status: 200 })
      expect(asked(provider)[1]).toMatchObject({ max_age: '300' })
      expect(provider.count('token', 'refresh_token')).toBe(0)
    })

    test('J7 an API that always challenges ends in a page after one redirect, with a way to ask again', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () => refusal(ACR)
      for (let visit = 0; visit < 3; visit++) {
        const page = await browser.goto(`${url}/pay`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_STEP_UP_FAILED')])
        expect(asked(provider)).toHaveLength(2)
      }
      // The credentials are as good as before.
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
      const page = await browser.goto(`${url}/pay`)
      const href = String(/href="([^"]+)"/.exec(page.body)?.[1]).replaceAll('&#38;', '&')
      provider.apiAnswer = undefined
      const again = await browser.goto(href, { from: page })
      expect([again.status, again.url]).toEqual([200, `${url}/pay`])
      expect(asked(provider)[2]).toMatchObject({ acr_values: 'phr mfa' })
    })

    test('J7 an API that wants something else each time ends in a page too', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      let n = 0
      provider.apiAnswer = () => refusal(`Bearer error="insufficient_user_authentication", acr_values="c${n++}"`)
      const page = await browser.goto(`${url}/pay`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_STEP_UP_FAILED')])
      expect(asked(provider).length).toBeLessThanOrEqual(4)
    })

    test('a minute later the same is asked again, and at once where it had an effect', async () => {
      const { browser, url, provider, clock } = await start()
      await browser.goto(`${url}/profile`)
      let accepts = 0
      provider.apiAnswer = () => (accepts-- > 0 ? undefined : refusal(FRESH))
      await browser.goto(`${url}/pay`)
      expect(asked(provider)).toHaveLength(2)
      clock.advance(61_000)
      const going = browser.goto(`${url}/pay`, {
        stopAt: (next) => next.pathname === '/pay' && asked(provider).length === 3,
      })
      expect((await going).status).toBe(303)
      accepts = 1
      expect((await browser.goto(`${url}/pay`)).status).toBe(200)
      const stopped = browser.goto(`${url}/pay`, {
        stopAt: (next) => next.pathname === '/pay' && asked(provider).length === 4,
      })
      expect((await stopped).status).toBe(303)
    })

    test('J7 a scope that a guard declares is asked for, together with those that were granted', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/calendar`)
      satisfiedScope(provider)
      // The guard of /files is seen once it was asked.
      await new Browser().xhr(`${url}/files`)
      const page = await browser.goto(`${url}/pay`)
      expect([page.status, page.url]).toEqual([200, `${url}/pay`])
      expect(page.json()).toMatchObject({ status: 200 })
      expect(page.json().scopes).toEqual(expect.arrayContaining(['calendar.read', 'files.read']))
      expect(asked(provider).at(-1)?.scope?.split(' ')).toEqual(
        expect.arrayContaining(['openid', 'calendar.read', 'files.read']),
      )
    })

    test('J7 a program gets a challenge like that of the API, and a link that asks for the same', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () =>
        refusal('Bearer error="insufficient_user_authentication", acr_values="phr mfa", max_age="60"')
      for (const method of ['GET', 'POST']) {
        const answer = await browser.xhr(`${url}/pay`, { method, ...JSON_CLIENT })
        expect(answer.status).toBe(401)
        expect(answer.headers.get('www-authenticate')).toBe(
          'Bearer error="insufficient_user_authentication", acr_values="phr mfa", max_age="60"',
        )
        expect(answer.json()).toMatchObject({
          code: 'FST_OAUTH2_STEP_UP_REQUIRED',
          acrValues: ['phr', 'mfa'],
          maxAge: 60,
          authorizeUrl: expect.stringContaining('/oauth2authorize?ticket='),
        })
      }
      expect(asked(provider)).toHaveLength(1)
      const { authorizeUrl } = (await browser.xhr(`${url}/pay`, JSON_CLIENT)).json()
      await browser.goto(`${url}${authorizeUrl}&return_url=/profile`)
      expect(asked(provider)[1]).toMatchObject({
        acr_values: 'phr mfa',
        max_age: '60',
        login_hint: 'alice@example.com',
      })
      // One that follows every link by itself is told that this one leads nowhere.
      const told = await browser.xhr(`${url}/pay`, JSON_CLIENT)
      expect([told.status, told.json()]).toEqual([
        403,
        expect.objectContaining({ code: 'FST_OAUTH2_STEP_UP_FAILED', authorizeUrl: expect.any(String) }),
      ])
    })

    test('J7 a program that lacks a scope gets 403 with what is missing', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      await browser.xhr(`${url}/files`)
      provider.apiAnswer = () => refusal(SCOPE, 403)
      const answer = await browser.xhr(`${url}/pay`, JSON_CLIENT)
      expect([answer.status, answer.json()]).toEqual([
        403,
        expect.objectContaining({ code: 'FST_OAUTH2_INSUFFICIENT_SCOPE', missingScopes: ['files.read'] }),
      ])
      expect(answer.headers.get('www-authenticate')).toContain('files.read')
    })

    test('a scope that was declined is not asked for again by itself', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      await browser.xhr(`${url}/files`)
      provider.apiAnswer = () => refusal(SCOPE, 403)
      provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
      for (let visit = 0; visit < 2; visit++) {
        const page = await browser.goto(`${url}/pay`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_SCOPE_DECLINED')])
      }
      expect(asked(provider)).toHaveLength(2)
    })

    test('J7 a second 401 for a token surfaces, and so does every other refusal', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      const refusals = {
        'invalid_token twice': refusal('Bearer error="invalid_token"'),
        'no challenge': { status: 403, body: { error: 'no' } },
        'nothing in particular': refusal('Bearer error="insufficient_user_authentication"'),
        'a scope that is there': refusal('Bearer error="insufficient_scope", scope="openid"', 403),
        'a scope that nobody declares': refusal('Bearer error="insufficient_scope", scope="admin:everything"', 403),
        'another scheme': refusal('Basic error="insufficient_scope", scope="email"', 401),
        'a challenge with another status': refusal(ACR, 500),
      }
      for (const [name, answer] of Object.entries(refusals)) {
        provider.apiAnswer = () => answer
        const page = await browser.goto(`${url}/pay`)
        expect([name, page.status, page.json().status]).toEqual([name, 200, answer.status])
      }
      expect(asked(provider)).toHaveLength(1)
      expect(provider.count('token', 'refresh_token')).toBe(1)
    })

    test('fetch returns a challenge as it is', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () => refusal(ACR)
      expect((await browser.goto(`${url}/raw`)).status).toBe(401)
      expect(asked(provider)).toHaveLength(1)
    })

    test('an ID token of another class is refused, nothing is stored, and it is not asked again by itself', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      for (const acr of ['pwd', undefined]) {
        provider.idTokenClaims = (claims) => ({ ...claims, ...(acr === undefined ? {} : { acr }), name: 'changed' })
        satisfiedBy(provider, ACR, 'never')
        const before = asked(provider).length
        const page = await browser.goto(`${url}/oauth2authorize?return_url=/profile`)
        expect(page.status).toBe(200)
        const refused = await browser.goto(`${url}/pay`)
        expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_STEP_UP_FAILED')])
        expect(new URL(refused.url).pathname).toBe('/oauth2callback')
        expect(asked(provider)).toHaveLength(before + 2)
        const stopped = await browser.goto(`${url}/pay`)
        expect([stopped.status, stopped.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_STEP_UP_FAILED')])
        expect(asked(provider)).toHaveLength(before + 2)
      }
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    })

    test('somebody else than the one who was to sign in again is refused, and nothing changes', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () => refusal(ACR)
      provider.user = 'mallory'
      const page = await browser.goto(`${url}/pay`)
      expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCOUNT_MISMATCH')])
      // By the link of a program too, where nothing but the sign-in is asked for.
      const other = new Browser()
      provider.user = 'alice'
      await other.goto(`${url}/profile`)
      const { authorizeUrl } = (await other.xhr(`${url}/pay`, JSON_CLIENT)).json()
      provider.user = 'mallory'
      expect((await other.goto(`${url}${authorizeUrl}&return_url=/profile`)).status).toBe(403)
      expect((await other.xhr(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
    })

    test('a person who refuses is not asked again by itself, and stays signed in', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () => refusal(ACR)
      provider.authorizeAnswer = ({ state = '' }) => ({ error: 'access_denied', state, iss: provider.issuer })
      for (let visit = 0; visit < 2; visit++) {
        const page = await browser.goto(`${url}/pay`)
        expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
      }
      expect(asked(provider)).toHaveLength(2)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    })

    test.each([true, false])(
      'the token of the new sign-in takes the place of the old one, and nothing that was granted is lost (includeGrantedScopes: %s)',
      async (includeGrantedScopes) => {
        const { browser, url, provider } = await start({ client: { includeGrantedScopes } })
        await browser.goto(`${url}/files`)
        const seen: string[] = []
        provider.apiAnswer = (_params, _defaults, { headers }) => {
          seen.push(String(headers.authorization))
          return asked(provider).length > 1 ? undefined : refusal(ACR)
        }
        provider.refreshTokenPolicy = 'never'
        const page = await browser.goto(`${url}/pay`)
        expect(page.json()).toMatchObject({ status: 200, scopes: expect.arrayContaining(['files.read']) })
        expect(new Set(seen).size).toBe(2)
      },
    )

    test('a step-up that grants less than before still counts, where it grants what the page needs', async () => {
      const { browser, url, provider } = await start()
      await browser.goto(`${url}/files`)
      satisfiedBy(provider, ACR, 'acr_values')
      provider.grant = (scopes) => scopes.filter((scope) => scope !== 'files.read')
      const page = await browser.goto(`${url}/pay`)
      expect(page.json()).toMatchObject({ status: 200, claims: { acr: 'phr' } })
    })

    test('signing out right after a step-up is not taken for a loop', async () => {
      const { browser, url, provider } = await start({
        routes: (app, given) => {
          routes(app, given)
          app.post('/forget', async ({ oauth2 }) => oauth2.revoke())
        },
      })
      await browser.goto(`${url}/profile`)
      provider.apiAnswer = () => refusal(ACR)
      await browser.goto(`${url}/pay`)
      await browser.xhr(`${url}/forget`, { method: 'POST' })
      expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    })

    describe('a guard', () => {
      const recent = (app: FastifyInstance) => {
        app.get('/password', { onRequest: requireOAuth([], { maxAge: 300 }) }, async ({ oauth2 }) => oauth2.claims)
        app.get('/vault', { config: { oauth2: { acrValues: ['phr'] } } }, async ({ oauth2 }) => oauth2.claims)
      }

      test('asks for a recent sign-in, and lets pass until that is too old', async () => {
        const { browser, url, provider, clock } = await start({ routes: recent })
        await browser.goto(`${url}/profile`)
        expect((await browser.xhr(`${url}/password`)).status).toBe(401)
        expect((await browser.goto(`${url}/password`)).url).toBe(`${url}/password`)
        expect(asked(provider)).toHaveLength(2)
        expect(asked(provider)[1]).toMatchObject({ max_age: '300' })
        clock.advance(350_000)
        expect((await browser.xhr(`${url}/password`)).status).toBe(200)
        clock.advance(20_000)
        const answer = await browser.xhr(`${url}/password`)
        expect([answer.status, answer.json().code]).toEqual([401, 'FST_OAUTH2_STEP_UP_REQUIRED'])
        expect(answer.headers.get('www-authenticate')).toBe(
          'Bearer error="insufficient_user_authentication", max_age="300"',
        )
      })

      test('asks whoever is not signed in for both at once', async () => {
        const { browser, url, provider } = await start({ routes: recent })
        const page = await browser.goto(`${url}/vault`)
        expect([page.status, page.json()]).toEqual([200, expect.objectContaining({ acr: 'phr' })])
        expect(asked(provider)).toHaveLength(1)
        // Another one wants something else: that is no repetition.
        expect((await browser.goto(`${url}/password`)).status).toBe(200)
        expect(asked(provider)).toHaveLength(2)
      })

      test('ends in a page after one round where the provider does not say how the person signed in', async () => {
        const { browser, url, provider } = await start({ routes: recent, client: { scopes: ['files.read'] } })
        for (let visit = 0; visit < 3; visit++) {
          const page = await browser.goto(`${url}/vault`)
          expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_STEP_UP_FAILED')])
        }
        expect(asked(provider)).toHaveLength(1)
      })
    })
  })
})

function satisfiedScope(provider: ScriptedProvider): void {
  provider.apiAnswer = () =>
    asked(provider).some(({ scope = '' }) => scope.includes('files.read')) ? undefined : refusal(SCOPE, 403)
}

describe('J7 the word of an API', () => {
  const visit = async (challenge: string) => {
    const started = await startApp({ storage: memoryStore(), routes })
    honest(started.provider)
    await started.browser.goto(`${started.url}/profile`)
    started.provider.apiAnswer = () => refusal(challenge)
    const answer = await started.browser.xhr(`${started.url}/pay`, JSON_CLIENT)
    await started.browser.goto(`${started.url}/pay`)
    return { answer, asked: asked(started.provider).slice(1) }
  }
  const classes = (n: number, length = 2) => Array.from({ length: n }, (_, i) => `c${i}`.padEnd(length, 'x')).join(' ')

  test.each<[string, string, Record<string, string> | undefined]>([
    ['a quote', 'acr_values="a\\"b ok"', { acr_values: 'ok' }],
    ['a backslash', 'acr_values="a\\\\b ok"', { acr_values: 'ok' }],
    ['letters beyond ASCII', 'acr_values="\u00e9 ok"', { acr_values: 'ok' }],
    ['a parameter of its own', 'acr_values="ok&redirect_uri=https://evil.example"', undefined],
    ['500 classes', `acr_values="${classes(500)}"`, { acr_values: classes(8) }],
    ['long classes', `acr_values="${classes(8, 190)}"`, { acr_values: classes(2, 190) }],
    ['the same class often', `acr_values="${'a '.repeat(50)}b"`, { acr_values: 'a b' }],
    ['an age that is none', 'acr_values="ok", max_age="-1"', { acr_values: 'ok' }],
    ['an age beyond counting', 'acr_values="ok", max_age="99999999999999"', { acr_values: 'ok' }],
    ['no age at all', 'max_age="0"', { max_age: '0' }],
  ])('%s', async (_name, params, expected) => {
    const { answer, asked } = await visit(`Bearer error="insufficient_user_authentication", ${params}`)
    expect(answer.status).toBe(401)
    expect(asked).toHaveLength(1)
    const { acr_values, max_age, redirect_uri } = asked[0] as Record<string, string>
    expect(redirect_uri).not.toContain('evil')
    if (expected) expect({ acr_values, max_age }).toEqual(expected)
    else expect(acr_values).toBe('ok&redirect_uri=https://evil.example')
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^Bearer error="insufficient_user_authentication"(, \w+="[^"\\]*")+$/,
    )
  })

  test('of an origin that the token does not go to is not heard', async () => {
    const started = await startApp({
      storage: memoryStore(),
      routes: (app) => {
        app.get('/elsewhere', { onRequest: requireOAuth() }, async ({ oauth2 }) => {
          const response = new Response('{}', { status: 401, headers: { 'www-authenticate': ACR } })
          Object.defineProperty(response, 'url', { value: 'https://evil.example/api' })
          await oauth2.stepUp(response)
          return { status: response.status }
        })
      },
    })
    await started.browser.goto(`${started.url}/profile`)
    expect((await started.browser.goto(`${started.url}/elsewhere`)).json()).toEqual({ status: 401 })
    expect(asked(started.provider)).toHaveLength(1)
  })

  test('counts where a response was made by hand, also before anybody signed in', async () => {
    const { browser, url, provider } = await startApp({
      storage: memoryStore(),
      routes: (app) => {
        app.get('/by-hand', { onRequest: oauthAware() }, async ({ oauth2 }) => {
          if (!oauth2.claims)
            await oauth2.stepUp(new Response('', { status: 401, headers: { 'www-authenticate': ACR } }))
          return oauth2.claims
        })
      },
    })
    honest(provider)
    const told = await browser.xhr(`${url}/by-hand`)
    expect([told.status, told.json().acrValues]).toEqual([401, ['phr', 'mfa']])
    const page = await browser.goto(`${url}/by-hand`)
    expect([page.status, page.json().acr]).toEqual([200, 'phr'])
    expect(asked(provider)).toMatchObject([{ acr_values: 'phr mfa' }])
  })

  test('an app that writes nonsense is told so', async () => {
    for (const options of [
      { maxAge: -1 },
      { maxAge: '300' },
      { acrValues: 'phr' },
      { acrValues: ['a b'] },
      { acrValues: [] },
    ]) {
      expect(() => requireOAuth([], options as never)).toThrow(/requireOAuth\(\{ (maxAge|acrValues) \}\)/)
    }
  })
})

test('J7 a step-up that ended in another process is seen, though this one remembers the token from before', async () => {
  const variant = sessionVariants.find(({ kind }) => kind === 'secure-session') as SessionVariant
  const storage = { ...memoryStore(), shared: true }
  const client = { cacheMaxAge: 3_600, encryptionKeys: Buffer.alloc(32, 7).toString('base64') }
  const first = await startApp({ variant, storage, routes, client })
  const { provider, clock, browser } = first
  honest(provider)
  const second = await startApp({ variant, storage, routes, provider, clock, client })
  const old = new Set<unknown>()
  provider.apiAnswer = (_params, _defaults, { headers: { authorization } }) => {
    if (asked(provider).length < 2) old.add(authorization)
    return old.has(authorization) ? refusal(ACR) : undefined
  }
  await browser.goto(`${first.url}/profile`)
  const { authorizeUrl } = (await browser.xhr(`${first.url}/pay`, JSON_CLIENT)).json()
  expect((await browser.xhr(`${second.url}/pay`, JSON_CLIENT)).status).toBe(401)
  await browser.goto(`${first.url}${authorizeUrl}&return_url=/profile`)
  const answer = await browser.xhr(`${second.url}/pay`, JSON_CLIENT)
  expect([answer.status, answer.json()]).toEqual([200, expect.objectContaining({ status: 200 })])
  expect(provider.count('token', 'refresh_token')).toBe(0)
})
