/** ID tokens that prove nothing, or not what they are sent for; and odd ones that prove it all the same. */
import { createHash } from 'node:crypto'
import {
  CompactEncrypt,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose'
import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { kClient } from '../../src/lookup.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import type { ScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'
import { answer } from '../routes/flow.js'

const HOUR = 3_600_000
const REFUSED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
const DOWN = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
const NEEDED = [401, 'FST_OAUTH2_CREDENTIALS_REQUIRED']
const now = Math.floor(Date.now() / 1000)

type Spoil = (provider: ScriptedProvider) => void
const claims =
  (change: Record<string, unknown>): Spoil =>
  (provider) => {
    provider.idTokenClaims = (usual) => ({ ...usual, ...change }) as JWTPayload
  }
/** So many seconds after it was issued. */
const expiring =
  (seconds: number): Spoil =>
  (provider) => {
    provider.idTokenClaims = (usual) => ({ ...usual, exp: Number(usual.iat) + seconds })
  }
const signed =
  (sign: (payload: JWTPayload, provider: ScriptedProvider) => Promise<string>): Spoil =>
  (provider) => {
    provider.signIdToken = (payload) => sign(payload, provider)
  }
const keys = async (provider: ScriptedProvider) => {
  const { keys } = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: object[] }
  return keys
}
const hashOf = (token: string, algorithm = 'sha256') => {
  const hash = createHash(algorithm).update(token).digest()
  return hash.subarray(0, hash.length / 2).toString('base64url')
}
/** An ID token that names the access token that comes with it. */
const naming =
  (name: (accessToken: string) => unknown): Spoil =>
  (provider) => {
    provider.tokenAnswer = async (_params, defaults) => {
      const { body } = await defaults()
      const payload = JSON.parse(Buffer.from(String(body.id_token).split('.')[1] as string, 'base64url').toString())
      return {
        body: { ...body, id_token: await provider.sign({ ...payload, at_hash: name(String(body.access_token)) }) },
      }
    }
  }
/** Signs with a key of its own, which is published beside the others. */
const signedWith =
  (alg: string, { listed = true, kid = 'new' }: { listed?: boolean; kid?: string | undefined } = {}): Spoil =>
  (provider) => {
    const pair = generateKeyPair(alg)
    if (listed) {
      provider.metadata = (usual) => ({ ...usual, id_token_signing_alg_values_supported: ['RS256', alg] })
    }
    provider.jwksAnswer = async () => ({
      body: { keys: [{ ...(await exportJWK((await pair).publicKey)), use: 'sig', ...(kid ? { kid, alg } : {}) }] },
    })
    provider.signIdToken = async (payload) =>
      new SignJWT(payload).setProtectedHeader({ alg, ...(kid ? { kid } : {}) }).sign((await pair).privateKey)
  }

const appAt = (options: Parameters<typeof startApp>[0] = {}) => startApp({ storage: memoryStore(), ...options })

describe('I1 refused: nothing is stored, nobody is signed in', () => {
  test.each<[string, Spoil]>([
    [
      'another key under a name that is known',
      signed(async (payload, p) => {
        const [key] = (await keys(p)) as [{ kid: string }]
        const { privateKey } = await generateKeyPair('RS256')
        return new SignJWT(payload).setProtectedHeader({ alg: 'RS256', kid: key.kid }).sign(privateKey)
      }),
    ],
    [
      'a name of a key that is not known, after one more look',
      signed((payload, p) => p.sign(payload, { kid: 'unknown' })),
    ],
    ['no signature', signed(async (payload, p) => `${(await p.sign(payload)).split('.').slice(0, 2).join('.')}.`)],
    ['alg none', signed(async (payload) => new UnsecuredJWT(payload).encode())],
    [
      'alg nOnE',
      signed(async (payload) =>
        new UnsecuredJWT(payload).encode().replace(/^[^.]+/, Buffer.from('{"alg":"nOnE"}').toString('base64url')),
      ),
    ],
    [
      'HS256 with the public key',
      signed(async (payload, p) => {
        const [jwk] = await keys(p)
        const pem = await exportSPKI((await importJWK(jwk as never, 'RS256', { extractable: true })) as CryptoKey)
        return new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(pem))
      }),
    ],
    [
      'HS256 with our secret, though the provider lists it',
      (p) => {
        p.metadata = (usual) => ({ ...usual, id_token_signing_alg_values_supported: ['RS256', 'HS256'] })
        const secret = Buffer.from(p.clientSecret as string)
        p.signIdToken = (payload) => new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(secret)
      },
    ],
    ['ES256 that was not agreed on', signedWith('ES256', { listed: false })],
    [
      'crit',
      signed((payload, p) =>
        p.sign(payload, { crit: ['x'], x: '1' } as never).catch(async () => {
          const [head, ...rest] = (await p.sign(payload)).split('.')
          const header = JSON.parse(Buffer.from(head as string, 'base64url').toString())
          return [Buffer.from(JSON.stringify({ ...header, crit: ['x'], x: 1 })).toString('base64url'), ...rest].join(
            '.',
          )
        }),
      ),
    ],
    ['no issuer', claims({ iss: undefined })],
    ['an issuer with a slash more', (p) => claims({ iss: `${p.issuer}/` })(p)],
    ['no audience', claims({ aud: undefined })],
    ['an empty list of audiences', claims({ aud: [] })],
    ['an audience more', (p) => claims({ aud: [p.clientId, 'another'] })(p)],
    ['an audience more, and azp', (p) => claims({ aud: [p.clientId, 'another'], azp: 'another' })(p)],
    ['another azp', claims({ azp: 'another' })],
    ['another nonce', claims({ nonce: 'another' })],
    ['no nonce', claims({ nonce: undefined })],
    [
      'a nonce in a list',
      (p) => {
        p.idTokenClaims = (usual) => ({ ...usual, nonce: [usual.nonce] })
      },
    ],
    ['expired longer ago than clocks differ', claims({ exp: now - 61 })],
    ['no expiry', claims({ exp: undefined })],
    ['an expiry that is a text', claims({ exp: String(now + 3600) })],
    ['an issue time that is a text', claims({ iat: String(now) })],
    ['no issue time', claims({ iat: undefined })],
    ['issued in the future', claims({ iat: now + 3600, exp: now + 7200 })],
    ['not valid yet', claims({ nbf: now + 3600 })],
    ['no subject', claims({ sub: undefined })],
    ['an empty subject', claims({ sub: '' })],
    ['a subject that is a number', claims({ sub: 5 })],
    ['a subject that is null', claims({ sub: null })],
    ['a subject of 256 characters', claims({ sub: 's'.repeat(256) })],
    ['a hash of another access token', naming(() => hashOf('another'))],
    ['a hash that is none', naming(() => 5)],
    ['a whole hash', naming((token) => createHash('sha256').update(token).digest('base64url'))],
    [
      'encrypted',
      signed(async (payload, p) => {
        const { publicKey } = await generateKeyPair('RSA-OAEP-256')
        return new CompactEncrypt(Buffer.from(await p.sign(payload)))
          .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM' })
          .encrypt(publicKey)
      }),
    ],
    ['more than 16 kB', claims({ padding: 'x'.repeat(16_384) })],
    ['no JWT', signed(async () => 'no.jwt.really')],
    ['a text', signed(async () => 'text-canary-without-dots')],
    [
      'keys: down',
      (p) => {
        p.jwksAnswer = () => ({ status: 503, body: '' })
      },
    ],
    [
      'keys: HTML',
      (p) => {
        p.jwksAnswer = () => ({ headers: { 'content-type': 'text/html' }, body: '<html>' })
      },
    ],
    [
      'keys: none',
      (p) => {
        p.jwksAnswer = () => ({ body: { keys: [] } })
      },
    ],
    [
      'keys: no list',
      (p) => {
        p.jwksAnswer = () => ({ body: { keys: 'x' } })
      },
    ],
    [
      'keys: larger than any honest set',
      (p) => {
        p.jwksAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, x: 'x'.repeat(2_000_000) } })
      },
    ],
    [
      'keys: somewhere else',
      (p) => {
        p.jwksAnswer = () => ({ status: 302, headers: { location: '/elsewhere' } })
      },
    ],
  ])('%s', async (name, spoil) => {
    const { browser, url, provider, logs } = await appAt()
    spoil(provider)
    const page = await browser.goto(`${url}/profile`)
    expect(answer(page)).toEqual(REFUSED)
    expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
    for (const secret of provider.secrets()) expect(page.body + logs.text()).not.toContain(secret)
    expect(provider.count('jwks')).toBeLessThanOrEqual(name.startsWith('a name') ? 2 : 3)
    expect(provider.count('unknown')).toBe(0)
  })

  test('auth_time older than what was asked for, or none', async () => {
    for (const auth_time of [undefined, now - 3600, String(now)]) {
      const { browser, url, provider } = await appAt({ client: { authorizationParams: { max_age: '300' } } })
      claims({ auth_time })(provider)
      expect(answer(await browser.goto(`${url}/profile`)), String(auth_time)).toEqual(REFUSED)
    }
  })
})

describe('I1 accepted', () => {
  test.each<[string, Spoil]>([
    ['a list of one audience', (p) => claims({ aud: [p.clientId] })(p)],
    ['azp that is us', (p) => claims({ azp: p.clientId })(p)],
    ['an issuer that sends iat a little ahead', claims({ iat: now + 30 })],
    ['expired a moment ago', expiring(-20)],
    ['a life of two minutes', expiring(120)],
    ['a subject of 255 characters', claims({ sub: 's'.repeat(255) })],
    ['no name of the key, and one key', signed((payload, p) => p.sign(payload, { kid: undefined as never }))],
    ['the hash of the access token', naming((token) => hashOf(token))],
    ['ES256', signedWith('ES256')],
    ['ES384', signedWith('ES384')],
    ['PS256', signedWith('PS256')],
    ['EdDSA', signedWith('EdDSA')],
    ['Ed25519', signedWith('Ed25519')],
    ['a key without kid and alg', signedWith('ES256', { kid: undefined })],
    [
      'keys of kinds that nobody knows',
      (p) => {
        p.jwksAnswer = async (_params, defaults) => {
          const { body } = await defaults()
          return { body: { keys: [{ kty: 'XYZ', kid: 'x' }, ...(body.keys as object[])] } }
        }
      },
    ],
    [
      'keys as application/jwk-set+json',
      (p) => {
        p.jwksAnswer = async (_params, defaults) => ({
          ...(await defaults()),
          headers: { 'content-type': 'application/jwk-set+json' },
        })
      },
    ],
  ])('%s', async (_name, spoil) => {
    const { browser, url, provider } = await appAt()
    spoil(provider)
    expect((await browser.goto(`${url}/profile`)).json().user).toMatch(/^s/)
  })

  test('no name of the key, and several keys: each is tried', async () => {
    const { browser, url, provider } = await appAt()
    const first = provider.sign.bind(provider)
    const token = (payload: JWTPayload) => first(payload, { kid: undefined as never })
    await provider.rotateKeys()
    provider.signIdToken = token
    await provider.rotateKeys()
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })

  test('the hash of the access token by SHA-384 and SHA-512', async () => {
    for (const [alg, hash] of [
      ['ES384', 'sha384'],
      ['EdDSA', 'sha512'],
    ] as const) {
      const { browser, url, provider } = await appAt()
      signedWith(alg)(provider)
      const sign = provider.signIdToken as NonNullable<typeof provider.signIdToken>
      provider.tokenAnswer = async (_params, defaults) => {
        const { body } = await defaults()
        const payload = JSON.parse(Buffer.from(String(body.id_token).split('.')[1] as string, 'base64url').toString())
        return {
          body: { ...body, id_token: await sign({ ...payload, at_hash: hashOf(String(body.access_token), hash) }) },
        }
      }
      expect((await browser.goto(`${url}/profile`)).status, alg).toBe(200)
    }
  })

  test('email_verified that is a text stays one', async () => {
    const { browser, url, provider } = await appAt()
    claims({ email_verified: 'true' })(provider)
    expect((await browser.goto(`${url}/profile`)).json().claims.email_verified).toBe('true')
  })
})

describe('I2 keys', () => {
  test('that are replaced right after they were fetched, and right before signing: nobody notices', async () => {
    const { url, provider } = await appAt()
    expect((await new Browser().goto(`${url}/profile`)).status).toBe(200)
    await provider.rotateKeys()
    expect((await new Browser().goto(`${url}/profile`)).status).toBe(200)
    expect(provider.count('jwks')).toBe(2)
  })

  test('names that nobody knows make us look once a minute at most, and stop nobody else', async () => {
    const { url, provider, clock } = await appAt()
    expect((await new Browser().goto(`${url}/profile`)).status).toBe(200)
    provider.signIdToken = (payload) => provider.sign(payload, { kid: `made-up-${provider.requests.length}` })
    for (let i = 0; i < 10; i++) expect((await new Browser().goto(`${url}/profile`)).status).toBe(502)
    expect(provider.count('jwks')).toBe(2)
    clock.advance(60_000)
    for (let i = 0; i < 5; i++) expect((await new Browser().goto(`${url}/profile`)).status).toBe(502)
    expect(provider.count('jwks')).toBe(3)
    provider.signIdToken = undefined
    expect((await new Browser().goto(`${url}/profile`)).status).toBe(200)
  })
})

describeEachSession((variant) => {
  const signedIn = async () => {
    const app = await startApp({ variant })
    claims({ auth_time: now - 50 })(app.provider)
    expect((await app.browser.goto(`${app.url}/profile`)).status).toBe(200)
    app.clock.advance(HOUR)
    return app
  }

  test('I3 userinfo about somebody else is refused; one that fails costs the address', async () => {
    const { url, provider } = await startApp({ variant })
    claims({ email: undefined })(provider)
    for (const [reply, expected] of [
      [{ body: { sub: 'sub-eve', email: 'eve@example.com' } }, 502],
      [{ body: { email: 'eve@example.com' } }, 200],
      [{ status: 401, body: '' }, 200],
      [{ status: 500, body: 'oops' }, 200],
      [{ headers: { 'content-type': 'text/html' }, body: '<html>' }, 200],
    ] as const) {
      provider.userinfoAnswer = () => reply
      const page = await new Browser().goto(`${url}/profile`)
      expect(page.status).toBe(expected)
      expect(page.body).not.toContain('eve@example.com')
    }
  })

  test.each<[string, Record<string, unknown>]>([
    ['another subject', { sub: 'sub-eve' }],
    ['the time of a sign-in before this one', { auth_time: now - 90 }],
    ['a nonce of another sign-in', { nonce: 'another' }],
  ])('I4 %s on refresh: the grant is over, and nothing of the answer is used', async (_name, change) => {
    const { browser, url, provider } = await signedIn()
    claims({ auth_time: now - 50, ...change })(provider)
    expect(answer(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(answer(await browser.xhr(`${url}/profile`))).toEqual(NEEDED)
    expect(provider.count('token', 'refresh_token')).toBe(1)
    claims({ auth_time: now })(provider)
    expect((await browser.goto(`${url}/profile`)).json().user).toBe('sub-alice')
  })

  test.each<[string, Spoil]>([
    ['another issuer', claims({ iss: 'https://evil.example' })],
    ['another audience', claims({ aud: 'another' })],
    [
      'a signature of nobody',
      signed(async (payload, p) => (await p.sign(payload)).replace(/[^.]{20}$/, 'A'.repeat(20))),
    ],
    ['a hash of another access token', naming(() => hashOf('another'))],
  ])('I4 %s on refresh: not believed, and nothing is lost', async (_name, spoil) => {
    const { browser, url, provider } = await signedIn()
    spoil(provider)
    expect(answer(await browser.xhr(`${url}/api`))).toEqual(DOWN)
    expect(provider.count('api')).toBe(0)
    provider.tokenAnswer = undefined
    provider.signIdToken = undefined
    provider.idTokenClaims = (usual) => usual
    expect(answer(await browser.xhr(`${url}/profile`))).not.toEqual(NEEDED)
  })

  test.each<[string, Spoil]>([
    [
      'no ID token',
      (p) => {
        p.tokenAnswer = async (_params, defaults) => {
          const { id_token: _, ...body } = (await defaults()).body
          return { body }
        }
      },
    ],
    ['one without auth_time', claims({})],
    ['the same auth_time', claims({ auth_time: now - 50 })],
    // They proved who they are again, in another tab or for another app of the same provider.
    ['a newer auth_time', claims({ auth_time: now - 10 })],
    ['the time of issue as auth_time', claims({ iat: now, auth_time: now })],
  ])('I4 %s on refresh: the same person', async (_name, spoil) => {
    const { browser, url, provider } = await signedIn()
    spoil(provider)
    const { user, claims: kept } = (await browser.xhr(`${url}/profile`)).json()
    expect([user, kept.auth_time]).toEqual(['sub-alice', now - 50])
  })

  test('I5 an address says nothing about who somebody is', async () => {
    const { url, provider } = await startApp({ variant })
    provider.idTokenClaims = (usual) => ({ ...usual, email: 'same@example.com' })
    const users = []
    for (const user of ['alice', 'eve']) {
      provider.user = user
      users.push((await new Browser().goto(`${url}/profile`)).json().user)
    }
    expect(users).toEqual(['sub-alice', 'sub-eve'])
  })
})

describe('I4 auth_time is no reason to end what an honest person granted', () => {
  test.each<[string, (refreshes: number) => object, number | undefined]>([
    ['the time of issue, each time anew', (n) => ({ iat: now - 5 + n, auth_time: now - 5 + n }), now - 5],
    ['the time of issue, by a clock that is behind', (n) => ({ iat: now - 2 * n, auth_time: now - 2 * n }), now],
    ['none at the sign-in', (n) => (n === 0 ? {} : { auth_time: now - 50 }), undefined],
    ['none later', (n) => (n === 0 ? { auth_time: now - 50 } : {}), now - 50],
    ['a newer one, and the old one again', (n) => ({ auth_time: n === 1 ? now - 10 : now - 50 }), now - 50],
  ])('%s', async (_name, said, kept) => {
    const app = await appAt()
    const { browser, url, provider, clock } = app
    let refreshes = 0
    provider.idTokenClaims = (usual) => ({ ...usual, iat: now, ...said(refreshes) })
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
    for (refreshes = 1; refreshes <= 3; refreshes++) {
      clock.advance(HOUR)
      expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    }
    const record = (await app.app.oauth2[kClient].manager.vaultOf('sub-alice').read())?.record.accounts[0]
    expect(record?.claims?.auth_time).toBe(kept)
  })
})

test('I4 a refresh is no sign-in: a page that wants a recent one asks the person', async () => {
  for (const atSignIn of [now - 7200, undefined]) {
    const app = await appAt({
      routes: (server) => {
        server.get('/recent', { onRequest: requireOAuth([], { maxAge: 5400 }) }, async () => 'recent')
      },
    })
    const { browser, url, provider, clock } = app
    provider.idTokenClaims = (usual) => ({ ...usual, ...(atSignIn === undefined ? {} : { auth_time: atSignIn }) })
    await browser.goto(`${url}/profile`)
    clock.advance(HOUR)
    claims({ iat: now, auth_time: now })(provider)
    expect((await browser.xhr(`${url}/profile`)).status).toBe(200)
    expect((await browser.xhr(`${url}/recent`)).status).toBe(401)
    expect(provider.count('token', 'refresh_token')).toBe(1)
  }
})
