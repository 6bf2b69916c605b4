// What is read from strangers, files and databases: every input gives a value or an error that says what is wrong with it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import { parseClientSecrets } from '../../src/flows/index.js'
import { challengeFrom, OAuth2ClientError } from '../../src/index.js'
import { KeyRing } from '../../src/keys/key-ring.js'
import { comparable, parseReturnUrl } from '../../src/session/return-url.js'
import { createXsrfToken, verifyXsrfToken } from '../../src/xsrf/token.js'
import { fuzz, SHARES } from './fuzz.js'
import { hostileJson, hostileText, mutations } from './hostile.js'

const CANARY = 'canary-4f1b9c'

/** Either a value, or an error of ours that does not repeat what it was given. */
function orCoded<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    expect(error).toBeInstanceOf(OAuth2ClientError)
    expect(String((error as Error).message)).not.toContain(CANARY)
    return undefined
  }
}

test('all shares together make the whole', () => {
  expect(Object.values(SHARES).reduce((sum, share) => sum + share, 0)).toBe(1_000)
})

describe('a value that strangers write', () => {
  fuzz('return URLs', hostileText, (text) => {
    const path = parseReturnUrl(text, new Set(['/oauth2authorize', '/oauth2callback'].map(comparable)))
    if (path === undefined) return
    const origin = 'https://app.example'
    expect(new URL(path, origin).origin).toBe(origin)
    // As a browser reads it in a Location header, where tabs and line breaks vanish before anything else.
    expect(path).toMatch(/^\/(?![/\\])[\x21-\x7e]*$/)
    expect(new URL(new URL(path, origin).href).pathname).not.toMatch(/^\/(oauth2authorize|oauth2callback)\/?$/i)
    expect(parseReturnUrl(path)).toBe(path)
  })

  fuzz(
    'challenges of an API',
    fc.oneof(
      hostileText,
      mutations.map((m) => m(CHALLENGE)),
    ),
    (text) => {
      const headers = { get: () => text } as unknown as Headers
      const challenge = challengeFrom({ headers })
      if (!challenge) return
      for (const word of [challenge.error ?? 'x', ...challenge.scopes, ...challenge.acrValues]) {
        expect(word).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]+$/)
      }
      expect(challenge.maxAge ?? 0).toBeGreaterThanOrEqual(0)
    },
  )

  const key = Buffer.alloc(32, 7)
  const xsrf = createXsrfToken(key, { user: 'u', action: 'a', now: 1_000 })
  fuzz(
    'XSRF tokens',
    fc.oneof(
      hostileText,
      mutations.map((m) => m(xsrf)),
    ),
    (token) => {
      if (token === xsrf) return
      expect(verifyXsrfToken(key, token, { user: 'u', action: 'a', now: 2_000 })).toBe(false)
    },
  )
})

const CHALLENGE =
  'Bearer realm="a, b", error="insufficient_scope", scope="a b", DPoP algs="ES256", Bearer acr_values="x", max_age=5'

const SECRETS = JSON.stringify({
  web: {
    client_id: 'id',
    client_secret: CANARY,
    redirect_uris: ['https://app.example/oauth2callback'],
    auth_uri: 'https://accounts.example/auth',
    token_uri: 'https://accounts.example/token',
    javascript_origins: ['https://app.example'],
  },
})

describe('a file or a record', () => {
  const names = ['web', 'installed', 'client_id', 'client_secret', 'redirect_uris', 'auth_uri', 'token_uri', 'raw']
  const files = fc.oneof(
    mutations.map((m) => m(SECRETS)),
    hostileJson(names).map((value) => JSON.stringify(value) ?? ''),
    fc.record({ web: hostileJson(names) }).map((value) => JSON.stringify(value)),
    hostileText,
  )
  fuzz('client secrets files', files, (text) => {
    const secrets = orCoded(() => parseClientSecrets(text, 'client_secrets.json'))
    if (!secrets) return
    expect(secrets.clientId).toEqual(expect.any(String))
    expect(URL.canParse(secrets.authUri) && URL.canParse(secrets.tokenUri)).toBe(true)
    expect(secrets.redirectUris.every((uri) => typeof uri === 'string')).toBe(true)
  })

  const whole = Credentials.fromAuthorizedUser({
    type: 'authorized_user',
    client_id: 'id',
    client_secret: CANARY,
    refresh_token: CANARY,
  }).serialize()
  const members = ['accounts', 'tokens', 'accessToken', 'scopes', 'obtainedAt', 'v', 'issuer', 'clientId', 'id']
  const serialized = fc.oneof(
    mutations.map((m) => m(whole)),
    hostileJson(members).map((value) => JSON.stringify(value) ?? ''),
    hostileText,
  )
  fuzz('serialized credentials', serialized, (text) => {
    orCoded(() => Credentials.fromJSON(text))?.serialize()
  })

  const python = JSON.stringify({
    access_token: CANARY,
    client_id: 'id',
    client_secret: CANARY,
    refresh_token: CANARY,
    token_expiry: '2020-01-02T03:04:05Z',
    token_uri: 'https://oauth2.googleapis.com/token',
    scopes: ['a'],
    invalid: false,
    _class: 'OAuth2Credentials',
    _module: 'oauth2client.client',
  })
  const fields = Object.keys(JSON.parse(python))
  const pythonFiles = fc.oneof(
    mutations.map((m) => m(python)),
    hostileJson(fields).map((value) => JSON.stringify(value) ?? ''),
  )
  fuzz('credentials of Python programs', fc.tuple(pythonFiles, fc.boolean()), ([text, other]) => {
    orCoded(() => (other ? Credentials.fromAuthorizedUser(text) : Credentials.fromOAuth2Client(text)))?.serialize()
  })

  const ring = new KeyRing([Buffer.alloc(32, 1), Buffer.alloc(32, 2)])
  const sealed = ring.seal('ticket', ['a'], CANARY)
  fuzz('sealed values', fc.oneof(mutations, fc.constant(undefined), hostileText), async (how) => {
    const text = typeof how === 'function' ? how(sealed) : (how ?? sealed)
    let opened: string | undefined
    try {
      opened = ring.open('ticket', ['a'], text)
    } catch (error) {
      expect((error as Error).message).not.toContain(CANARY)
      expect((error as Error).message).toMatch(/^sealed value: \w+$/)
    }
    // A text that opens says what was sealed, however it came to be.
    if (opened !== undefined) expect(opened).toBe(CANARY)
    if (text === sealed) expect(opened).toBe(CANARY)
  })
})
