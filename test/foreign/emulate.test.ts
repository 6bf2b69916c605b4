/** Imitations of large providers that somebody else wrote, with our presets moved there. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createEmulator, type ServiceName } from 'emulate'
import { expect, onTestFinished, test } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { github, google, microsoft, okta, slack } from '../../src/provider/presets/index.js'
import { foreignApp, freePort, REGISTRATION, signIn } from './app.js'

const HOUR = 3_600_000
const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad'

interface Imitation {
  readonly options: (url: string) => Partial<OAuth2ClientOptions>
  /** How its configuration lists clients. */
  readonly clients: 'oauth_clients' | 'oauth_apps' | 'oauth_applications'
  readonly client?: object
  /** Whether there is a refresh token. */
  readonly refresh: boolean
  readonly remote: 'revoked' | 'unsupported' | 'failed'
  /** What is peculiar. */
  readonly claims?: object
}

const IMITATIONS: Readonly<Record<string, Imitation>> = {
  // Answers to a refresh have no refresh token in them.
  google: {
    options: (url) => ({ provider: google({ issuer: url }) }),
    clients: 'oauth_clients',
    refresh: true,
    remote: 'revoked',
  },
  // Errors come with 200, tokens last forever, the API is at another path than an enterprise server's.
  github: {
    options: (url) => ({ provider: github({ issuer: url }), scopes: ['read:user'] }),
    clients: 'oauth_apps',
    refresh: false,
    remote: 'revoked',
  },
  // The endpoints are of no tenant, and the issuer is of one.
  microsoft: {
    options: (url) => ({ provider: microsoft({ issuer: `${url}/${PERSONAL}/v2.0`, tenant: PERSONAL }) }),
    clients: 'oauth_clients',
    refresh: true,
    remote: 'unsupported',
    claims: { tid: PERSONAL },
  },
  // Each ID token says that the person signed in just now, those of a refresh too.
  okta: {
    options: (url) => ({ provider: okta({ issuer: `${url}/oauth2/default` }) }),
    clients: 'oauth_clients',
    client: { auth_server_id: 'default' },
    refresh: true,
    remote: 'revoked',
  },
  // So do these; and whether the address was verified is a text.
  apple: {
    options: (url) => ({ provider: { issuer: url } }),
    clients: 'oauth_clients',
    client: { team_id: 'TEAM001' },
    refresh: true,
    remote: 'revoked',
    claims: { email_verified: 'true' },
  },
  // Tokens in a member of the answer, of a type of its own, with scopes that are separated by commas.
  slack: {
    options: (url) => ({ provider: slack({ issuer: url }), scopes: ['users:read'] }),
    clients: 'oauth_apps',
    client: { scopes: ['users:read'], user_scopes: ['users:read'] },
    refresh: false,
    remote: 'failed',
  },
}

test.each(Object.entries(IMITATIONS))('%s: sign-in, guard, refresh, revocation', async (service, imitation) => {
  const { options, clients, client, refresh, remote, claims = {} } = imitation
  const port = await freePort()
  const { clientId: client_id, clientSecret: client_secret } = REGISTRATION
  const redirect_uris = [`http://localhost:${port}/oauth2callback`]
  const seed = { [service]: { [clients]: [{ client_id, client_secret, name: 'app', redirect_uris, ...client }] } }
  const emulator = await createEmulator({ service: service as ServiceName, port: 0, seed })
  onTestFinished(() => emulator.close())
  const app = await foreignApp(options(emulator.url), { port })
  const { browser, url, clock } = app

  const page = await signIn(app)
  expect([page.status, page.url], page.body.replace(/<style>.*?<\/style>/gs, '')).toEqual([200, `${url}/me`])
  const { user } = page.json()
  expect(user).toEqual(expect.any(String))
  expect(page.json().claims).toMatchObject(claims)

  // A second goes by, which is the unit of the times in an ID token.
  await sleep(1_100)
  expect([(await browser.xhr(`${url}/renew`)).body, user]).toEqual([refresh ? 'true' : expect.any(String), user])
  clock.advance(24 * HOUR)
  const later = await browser.xhr(`${url}/me`)
  expect(later.status).toBe(200)
  const revoked = await browser.step(`${url}/revoke`, { method: 'POST', from: url })
  expect(revoked.json()).toEqual({ local: true, remote })
  expect((await browser.xhr(`${url}/me`)).status).toBe(401)
})

test('clerk: its ID tokens hold no nonce, so nobody knows whose they are', async () => {
  const port = await freePort()
  const { clientId: client_id, clientSecret: client_secret } = REGISTRATION
  const redirect_uris = [`http://localhost:${port}/oauth2callback`]
  const oauth_applications = [{ client_id, client_secret, name: 'app', redirect_uris }]
  const emulator = await createEmulator({ service: 'clerk', port: 0, seed: { clerk: { oauth_applications } } })
  onTestFinished(() => emulator.close())
  const errors: unknown[] = []
  const onError: OAuth2ClientOptions['onError'] = (error) => void errors.push(error)
  const app = await foreignApp({ provider: { issuer: emulator.url }, onError }, { port })
  expect((await signIn(app)).status).toBe(502)
  const message = 'the nonce of its id_token is missing, or is not what was asked for'
  expect(errors).toMatchObject([{ cause: { message: `token request failed: unusable, HTTP 200: ${message}` } }])
})
