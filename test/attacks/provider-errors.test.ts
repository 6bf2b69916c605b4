/** The provider says no, says it oddly, or says nothing at all. RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6. */
import { expect, test } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import type { Page } from '../helpers/browser.js'
import type { Answer } from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { altered, answer, back, begin, flowCookies } from '../routes/flow.js'

const STATE_INVALID = [400, 'FST_OAUTH2_STATE_INVALID']

/** The provider's answer is this error instead of a code. */
const refusal = (error: string, more: Record<string, string> = {}) => ({ code: null, error, ...more })

const who = async ({ browser, url }: TestApp) => (await browser.goto(`${url}/`)).json()

describeEachSession((variant) => {
  test.each([
    ['access_denied', 403],
    ['temporarily_unavailable', 503],
    ['invalid_scope', 500],
  ])('G1, G5: %s is %i: the flow is over, and whoever was signed in stays so', async (error, status) => {
    const app = await startApp({ variant })
    await app.browser.goto(`${app.url}/profile`)
    const { callback } = await begin(app, '/files')
    const page = await back(app, altered(callback, refusal(error)))
    expect(page.status).toBe(status)
    expect(page.headers.get('retry-after') !== null).toBe(status === 503)
    expect(flowCookies(app.browser)).toEqual([])
    expect(answer(await back(app, callback))).toEqual(STATE_INVALID)
    expect(await who(app)).toEqual({ user: 'sub-alice', has: true })
    expect(app.provider.count('token')).toBe(1)
    // Mistakes of our registration are for whoever reads the log.
    if (status === 500) expect(app.logs.text()).toContain(`the authorization endpoint answered ${error}`)
  })

  test.each([
    ['missing', null],
    ['forged', 'x'.repeat(43)],
  ])(
    'G2: an error with a state that is %s is a 400 that repeats nothing, and the flow goes on',
    async (_name, state) => {
      const app = await startApp({ variant })
      const { callback } = await begin(app, '/profile')
      const forged = refusal('access_denied', { error_description: 'Call 555-1234' })
      const page = await back(app, altered(callback, { ...forged, state }))
      expect(answer(page)).toEqual(STATE_INVALID)
      expect(page.body).not.toMatch(/555|denied/)
      expect(flowCookies(app.browser)).toHaveLength(1)
      expect((await app.browser.goto(callback)).json()).toMatchObject({ user: 'sub-alice' })
    },
  )

  test('G3: a code that comes with an error is not sent', async () => {
    const app = await startApp({ variant })
    const { callback } = await begin(app)
    expect((await back(app, altered(callback, { error: 'access_denied' }))).status).toBe(403)
    expect(app.provider.count('token')).toBe(0)
    expect(await who(app)).toMatchObject({ has: false })
  })
})

test.each<[Answer, number, string, string | null]>([
  [{ status: 400, body: { error: 'invalid_grant' } }, 502, 'invalid_grant, invalid_grant, HTTP 400', null],
  [
    { status: 401, body: { error: 'invalid_client' } },
    500,
    'client, invalid_client, HTTP 401: clientId, clientSecret or',
    null,
  ],
  [{ status: 503, body: '' }, 503, 'in_doubt, HTTP 503', '5'],
  [{ status: 503, body: '', headers: { 'retry-after': '0' } }, 503, 'in_doubt, HTTP 503', '1'],
  [{ status: 429, body: '', headers: { 'retry-after': '9' } }, 503, 'rate_limited, HTTP 429', '9'],
])(
  'G5: a token endpoint that answers %j: %i, the log says why, and when to try again',
  async (said, status, why, wait) => {
    const app = await startApp()
    const { callback } = await begin(app)
    app.provider.tokenAnswer = () => said
    const page = await back(app, callback)
    expect([page.status, page.headers.get('retry-after')]).toEqual([status, wait])
    expect(app.logs.text()).toContain(`token request failed: ${why}`)
  },
)

test('G1: onError answers a refusal in the words of the app', async () => {
  const app = await startApp({
    client: { onError: (error, _request, reply) => reply.code(200).send(`no: ${error.code}`) },
  })
  const { callback } = await begin(app)
  const page = await back(app, altered(callback, refusal('access_denied')))
  expect([page.status, page.body]).toEqual([200, 'no: FST_OAUTH2_ACCESS_DENIED'])
})

test.each([
  ['markup', '<img src=x onerror=alert(1)>', 'https://idp.example/help'],
  ['line breaks', 'a\r\nset-cookie: x=y\r\n\r\n<p>canary</p>', 'https://idp.example/\r\nx: canary'],
  ['12 kB', 'canary'.repeat(2_000), 'https://idp.example/help'],
  ['text that runs backwards', '\u202ecanary\u202c\u2066', 'https://idp.example/help'],
  ['an address that is a script', 'canary', 'javascript:alert(document.cookie)'],
  ['an address of a stranger', 'canary', 'https://evil.example/canary'],
])('G4: of %s in error_description and error_uri nothing is shown, linked or logged', async (_name, text, uri) => {
  const app = await startApp()
  const { callback } = await begin(app)
  const told = { ...refusal('access_denied'), error_description: text, error_uri: uri }
  for (const accept of ['text/html', 'application/json']) {
    const page = await back(app, altered(callback, told), { headers: { accept } })
    expect(page.body).not.toMatch(/canary|alert|onerror|idp\.example|evil\.example|\u202e|\u2066/)
    expect([...page.headers].join()).not.toMatch(/canary|alert|x=y/)
    expect(page.body.length).toBeLessThan(5_000)
  }
  expect(app.logs.text()).not.toMatch(/canary|alert|onerror|evil\.example/)
})

test('G4: 100 kB are refused before anything of it is read', async () => {
  const app = await startApp()
  const { callback } = await begin(app)
  const page = await back(app, altered(callback, refusal('access_denied', { error_description: 'x'.repeat(100_000) })))
  expect(page.status).toBe(431)
  expect(flowCookies(app.browser)).toHaveLength(1)
})

test('G5: an empty error is a 400, with and without a code', async () => {
  const app = await startApp()
  const { callback } = await begin(app)
  for (const params of [{ error: '' }, refusal('')]) {
    expect((await back(app, altered(callback, params))).status).toBe(400)
  }
  expect(app.provider.count('token')).toBe(0)
})

describeEachSession((variant) => {
  test('G6: people who never come back leave cookies that end by themselves, and nothing else', async () => {
    const map = new Map()
    const app = await startApp({ variant, storage: memoryStore({ map }) })
    const answers: Page[] = []
    for (let i = 0; i < 20; i++) {
      // They stay at the provider, which shows an error of its own.
      answers.push(
        await app.browser.goto(`${app.url}/oauth2authorize`, { stopAt: ({ pathname }) => pathname === '/authorize' }),
      )
    }
    for (const { headers } of answers) {
      const [cookie] = headers.getSetCookie().filter((line) => line.includes('oauth2client.flow.') && !/=;/.test(line))
      expect(cookie).toMatch(/Max-Age=600(;|$)/)
    }
    expect(flowCookies(app.browser).length).toBeLessThanOrEqual(5)
    expect(map.size).toBe(0)
  })

  test.each(['login_required', 'interaction_required'])(
    'G7: asked without a page, %s becomes one question with pages',
    async (error) => {
      const app = await startApp({
        variant,
        client: { scopes: ['openid', 'email'], authorizationParams: { prompt: 'none', ui_locales: 'de' } },
      })
      const prompts: unknown[] = []
      app.provider.authorizeAnswer = ({ prompt, state, ui_locales }) => {
        prompts.push(prompt)
        expect(ui_locales).toBe('de')
        return prompt === 'none' ? { error, state: state as string, iss: app.provider.issuer } : undefined
      }
      const page = await app.browser.goto(`${app.url}/files?x=1`)
      expect(page.json()).toMatchObject({ scopes: expect.arrayContaining(['files.read']) })
      expect(page.url).toBe(`${app.url}/files?x=1`)
      expect(prompts).toEqual(['none', undefined])
      expect(flowCookies(app.browser)).toEqual([])
    },
  )

  test('G7: a provider that never lets anybody in is asked twice, and then it is a refusal', async () => {
    const app = await startApp({ variant, client: { authorizationParams: { prompt: 'none' } } })
    app.provider.authorizeAnswer = ({ state }) => ({
      error: 'login_required',
      state: state as string,
      iss: app.provider.issuer,
    })
    expect(answer(await app.browser.goto(`${app.url}/profile`))).toEqual([403, 'FST_OAUTH2_ACCESS_DENIED'])
    expect(app.provider.count('authorize')).toBe(2)
  })

  test('G7: a link of the app that asks silently falls back too, and what a person refused is no such answer', async () => {
    const app = await startApp({
      variant,
      routes(server) {
        server.get('/silent', async ({ oauth2 }, reply) => {
          await oauth2.load()
          return reply.redirect(await oauth2.authorizeUrl('/profile', { prompt: 'none' }))
        })
      },
    })
    const prompts: unknown[] = []
    let error = 'login_required'
    app.provider.authorizeAnswer = ({ prompt, state }) => {
      prompts.push(prompt)
      return prompt === 'none' ? { error, state: state as string, iss: app.provider.issuer } : undefined
    }
    expect((await app.browser.goto(`${app.url}/silent`)).json()).toMatchObject({ user: 'sub-alice' })
    expect(prompts).toEqual(['none', undefined])
    error = 'access_denied'
    expect((await app.browser.goto(`${app.url}/silent`)).status).toBe(403)
    expect(prompts).toHaveLength(3)
  })
})
