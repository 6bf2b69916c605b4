/** What is set wrong says so at the start, what is out of reach says so when it is needed, and no error gives anything away. */
import { inspect } from 'node:util'
import Fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import oauth2Client, { type OAuth2ClientOptions } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import type { Answer, ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession, sessionVariants } from '../helpers/session-plugins.js'
import { answer, back, begin } from '../routes/flow.js'

describe('L1: what can never work is an error of the registration that names the option', () => {
  const good: OAuth2ClientOptions = {
    provider: { issuer: 'https://login.example' },
    clientId: 'client',
    clientSecret: 'secret-that-is-long-enough-to-make-keys-of',
  }
  test.each<[string, Partial<OAuth2ClientOptions>, RegExp]>([
    ['no secret', { clientSecret: '', clientAuthentication: 'client_secret_basic' }, /clientSecret/],
    ['a key of 31 bytes', { encryptionKeys: ['k'.repeat(31)] }, /encryptionKeys.*32/],
    ['no key at all', { encryptionKeys: [] }, /encryptionKeys/],
    ['a redirect URI that is none', { redirectUri: '/oauth2callback' }, /redirectUri/],
    ['a redirect URI over HTTP', { redirectUri: 'http://app.example/oauth2callback' }, /redirectUri/],
    ['a path that is none', { callbackPath: 'oauth2callback' }, /callbackPath/],
    ['a file that is not there', { clientSecretsFile: '/nowhere/client_secrets.json' }, /client_secrets\.json/],
  ])('%s', async (_name, wrong, says) => {
    const app = Fastify()
    sessionVariants[2]?.register(app)
    const error: unknown = await app.register(oauth2Client, { ...good, ...wrong }).then(
      () => app.ready(),
      (reason) => reason,
    )
    expect(error).toMatchObject({ code: expect.stringMatching(/^FST_OAUTH2_/), message: expect.stringMatching(says) })
    expect(inspect(error)).not.toContain(good.clientSecret)
    await app.close()
  })
})

test.each<[string, Answer]>([
  ['is cut off', { destroy: true }],
  ['fails', { status: 500, body: 'oops' }],
  ['is a page', { body: '<html></html>', headers: { 'content-type': 'text/html' } }],
  ['has no end', { body: 'x'.repeat(2_000_000), headers: { 'content-type': 'application/json' } }],
  ['never comes', { hang: true }],
  ['is JSON, and no metadata', { body: [] }],
])('L1: metadata that %s is a 503, and the next person gets in once it is there', async (_name, spoilt) => {
  const app = await startApp({ client: { timeout: 500 } })
  app.provider.discoveryAnswer = () => spoilt
  for (let i = 0; i < 2; i++) {
    const page = await app.browser.goto(`${app.url}/profile`)
    expect(answer(page)).toEqual([503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE'])
  }
  app.provider.discoveryAnswer = undefined
  const asked = app.provider.count('discovery')
  expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  expect((await app.browser.goto(`${app.url}/files`)).status).toBe(200)
  expect(app.provider.count('discovery')).toBe(asked + 1)
})

/** An error with everything that hangs on it, also where nobody prints it. */
function reachable(value: unknown, seen = new Set<unknown>()): unknown[] {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) return []
  seen.add(value)
  const members = Reflect.ownKeys(value).flatMap((key) => reachable(Reflect.get(value, key), seen))
  return [value, ...members]
}

const CANARY = 'canary-of-the-provider'

describeEachSession((variant) => {
  const failing: [string, (provider: ScriptedProvider, app: TestApp) => void][] = [
    [
      'an error that repeats what was sent',
      (p) => {
        p.tokenAnswer = (params) => ({
          status: 400,
          body: { error: 'invalid_grant', error_description: JSON.stringify(params), canary: CANARY },
        })
      },
    ],
    [
      'tokens of a kind that is of no use',
      (p) => {
        p.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, token_type: 'mac' } })
      },
    ],
    [
      'an ID token for somebody else',
      (p) => {
        p.idTokenClaims = (claims) => ({ ...claims, aud: CANARY, nonce: CANARY })
      },
    ],
    [
      'a page',
      (p) => {
        p.tokenAnswer = (params) => ({ status: 502, body: `<html>${CANARY} ${JSON.stringify(params)}` })
      },
    ],
    [
      'a challenge',
      (p) => {
        p.tokenAnswer = ({ client_secret }) => ({
          status: 401,
          headers: { 'www-authenticate': `Basic realm="${CANARY} ${client_secret}"` },
          body: { error: 'invalid_client', error_description: CANARY },
        })
      },
    ],
    [
      'a redirect',
      (p) => {
        p.tokenAnswer = ({ code }) => ({ status: 307, headers: { location: `/token?${CANARY}=${code}` } })
      },
    ],
  ]
  test.each(failing)('L3: %s leaves nothing in the error, its causes, the log and the page', async (_name, spoil) => {
    const errors: unknown[] = []
    const app = await startApp({ variant, client: { onError: (error) => void errors.push(error) } })
    spoil(app.provider, app)
    const { callback, asked } = await begin(app, '/profile')
    const page = await back(app, callback)
    expect(page.status).toBeGreaterThanOrEqual(400)
    expect(errors).toHaveLength(1)
    const everything = reachable(errors[0])
    expect(everything.filter((value) => value instanceof Response || value instanceof URLSearchParams)).toEqual([])
    const shown = inspect(everything, { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null })
    const public_ = [asked.get('code_challenge'), asked.get('client_id')]
    for (const secret of [...app.provider.secrets(), CANARY].filter((one) => !public_.includes(one))) {
      for (const text of [shown, page.body, app.logs.text()]) expect(text).not.toContain(secret)
    }
  })
})
