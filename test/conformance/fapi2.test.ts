// The client modules of the OpenID conformance suite for FAPI 2.0, by their names: security profile and message signing. Those that
// go well run against a real authorization server of that profile, the others against one that does one thing wrong.
import { randomBytes } from 'node:crypto'
import {
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose'
import { describe, expect, test } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { hasOpenssl } from '../helpers/certificates.js'
import { back } from '../routes/flow.js'
import { type Bank, type BankOptions, realBank, SIGNED, scriptedBank, UNSIGNED } from './fapi.js'
import { damaged, expectAccepted, expectRefused, STATE_INVALID, signIn } from './modules.js'
import { mutualTls } from './mutual-tls.js'

const dPoP = (nonce: boolean) => ({ enabled: true, nonceSecret: randomBytes(32), requireNonce: () => nonce })

const withDPoP = ({ nonce = true, signed = false } = {}): BankOptions => ({
  client: signed ? SIGNED : {},
  registration: { ...(signed ? {} : UNSIGNED.registration), dpop_bound_access_tokens: true },
  server: async () => ({ features: { ...(signed ? {} : UNSIGNED.features), dPoP: dPoP(nonce) } }),
})

const ways: [string, BankOptions][] = [
  ['private_key_jwt, DPoP', withDPoP()],
  ['private_key_jwt, DPoP, signed requests and answers', withDPoP({ signed: true })],
]

/** Signs in, and calls an API. */
async function expectAccounts({ browser, url }: Bank): Promise<void> {
  const page = await browser.goto(`${url}/accounts`)
  expect([page.url, page.status, page.json().sub]).toEqual([`${url}/accounts`, 200, 'alice'])
}

/** What was sent to this path. */
const sentTo = ({ sent }: Bank, path: string) => sent.filter(({ url }) => new URL(url).pathname === path)

describe('what goes well', () => {
  test.each(ways)('fapi2-security-profile-final-client-test-happy-path: %s', async (_name, options) => {
    const bank = await realBank(options)
    await expectAccounts(bank)
    const [pushed] = sentTo(bank, '/request')
    const exchanges = sentTo(bank, '/token')
    const calls = sentTo(bank, '/me')
    expect(pushed?.params.has('request')).toBe(options.client === SIGNED)
    // Each of the two servers wanted a nonce first.
    expect([exchanges.length, calls.length]).toEqual([2, 2])
    for (const { params, headers } of [pushed!, ...exchanges]) {
      expect(params.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      expect(decodeJwt(params.get('client_assertion') ?? '').aud).toBe(bank.server.issuer)
      expect([headers.get('authorization'), params.get('client_secret')]).toEqual([null, null])
    }
    for (const { headers } of calls) {
      expect(headers.get('authorization')).toMatch(/^DPoP /)
      expect(decodeJwt(headers.get('dpop') ?? '')).toMatchObject({ htu: `${bank.server.issuer}/me`, htm: 'GET' })
    }
    // The token alone is of no use.
    const authorization = calls[1]?.headers.get('authorization')?.replace('DPoP', 'Bearer') ?? ''
    expect((await fetch(`${bank.server.issuer}/me`, { headers: { authorization } })).status).toBe(401)
  })

  test('fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce', async () => {
    const bank = await realBank(withDPoP({ nonce: false }))
    await expectAccounts(bank)
    expect([sentTo(bank, '/token').length, sentTo(bank, '/me').length]).toEqual([1, 1])
  })

  test.each(ways)('fapi2-security-profile-final-client-refresh-token-test: %s', async (_name, options) => {
    const bank = await realBank(options)
    await expectAccounts(bank)
    const { browser, url } = bank
    const page = await browser.goto(`${url}/again`)
    expect([page.url, page.status, page.json().sub]).toEqual([`${url}/accounts`, 200, 'alice'])
    const grants = sentTo(bank, '/token').map(({ params }) => params.get('grant_type'))
    expect(new Set(grants)).toEqual(new Set(['authorization_code', 'refresh_token']))
    const tokens = sentTo(bank, '/me').map(({ headers }) => headers.get('authorization'))
    expect(new Set(tokens).size).toBe(2)
    const keys = bank.sent.map(({ headers }) => headers.get('dpop')).filter((proof) => proof !== null)
    expect(new Set(keys.map((proof) => decodeProtectedHeader(proof).jwk?.x)).size).toBe(1)
  })

  describe.skipIf(!process.env.CI && !hasOpenssl)('with client certificates', () => {
    test.each<[string, 'private_key_jwt' | 'tls_client_auth', Partial<OAuth2ClientOptions>]>([
      ['private_key_jwt, tokens bound to a certificate', 'private_key_jwt', {}],
      [
        'tls_client_auth, tokens bound to a certificate',
        'tls_client_auth',
        { clientKey: undefined as never, clientAuthentication: 'tls_client_auth' },
      ],
    ])('fapi2-security-profile-final-client-test-happy-path: %s', async (_name, method, client) => {
      const { withoutCertificate, ...options } = await mutualTls(client, method)
      const bank = await realBank(options)
      await expectAccounts(bank)
      expect((await bank.browser.goto(`${bank.url}/again`)).json().sub).toBe('alice')
      const posted = bank.sent.filter(({ method }) => method === 'POST')
      expect(posted.map(({ url }) => url)).toEqual(
        ['/request', '/token', '/token'].map((path) => expect.stringMatching(`^https://localhost:\\d+${path}$`)),
      )
      expect(posted.map(({ params }) => params.has('client_assertion'))).toEqual(
        Array(3).fill(method === 'private_key_jwt'),
      )
      const calls = sentTo(bank, '/me')
      for (const { headers } of calls) expect(headers.get('authorization')).toMatch(/^Bearer /)
      const { url, headers } = calls.at(-1)!
      expect((await withoutCertificate(url, { headers: Object.fromEntries(headers) })).status).toBe(401)
    })
  })
})

/** Signs in, and calls an API with a proof. */
const accepted = async (spoil: (app: TestApp) => unknown = () => {}) => {
  const result = await signIn(
    async (app) => {
      app.provider.apiAnswer = (_params, _defaults, { headers }) =>
        headers.authorization?.startsWith('DPoP ') && headers.dpop
          ? { body: { balance: 1 } }
          : { status: 401, body: {} }
      await spoil(app)
    },
    await scriptedBank(),
  )
  await expectAccepted(result, result.outcome)
  expect((await result.browser.goto(`${result.url}/api`)).json()).toEqual({ balance: 1 })
  return result
}
/** The tokens are of no use, and nobody is signed in. */
const refused = async (spoil: (app: TestApp) => unknown) => {
  const result = await signIn(spoil, await scriptedBank())
  await expectRefused(result, result.outcome)
  expect(result.provider.count('token')).toBe(1)
}
const claims = (change: Record<string, unknown>) => (app: TestApp) => {
  app.provider.idTokenClaims = (usual) => ({ ...usual, ...change }) as JWTPayload
}
const inToken = (change: (usual: Record<string, unknown>) => Record<string, unknown>) => (app: TestApp) => {
  const { tokenAnswer } = app.provider
  app.provider.tokenAnswer = async (...asked) => {
    const answer = await tokenAnswer?.(...asked)
    return { body: change(answer?.body as Record<string, unknown>) }
  }
}

describe('ID tokens', () => {
  test('fapi2-security-profile-final-client-test-invalid-iss', () => refused(claims({ iss: 'https://evil.example' })))
  test('fapi2-security-profile-final-client-test-invalid-missing-iss', () => refused(claims({ iss: undefined })))
  test('fapi2-security-profile-final-client-test-invalid-aud', () => refused(claims({ aud: 'another-client' })))
  test('fapi2-security-profile-final-client-test-invalid-missing-aud', () => refused(claims({ aud: undefined })))
  test('fapi2-security-profile-final-client-test-invalid-secondary-aud', () =>
    refused(claims({ aud: ['test-client', 'test-client1'] })))
  test('fapi2-security-profile-final-client-test-valid-aud-as-array', () => accepted(claims({ aud: ['test-client'] })))
  test('fapi2-security-profile-final-client-test-invalid-nonce', () => refused(claims({ nonce: 'another' })))
  test('fapi2-security-profile-final-client-test-invalid-missing-nonce', () => refused(claims({ nonce: undefined })))
  test('fapi2-security-profile-final-client-test-invalid-missing-exp', () => refused(claims({ exp: undefined })))
  test('fapi2-security-profile-final-client-test-invalid-expired-exp', () =>
    refused(claims({ exp: Math.floor(Date.now() / 1000) - 301 })))
  test('fapi2-security-profile-final-client-test-invalid-null-alg', () =>
    refused((app) => {
      app.provider.signIdToken = async (payload) => new UnsecuredJWT(payload).encode()
    }))
  test('fapi2-security-profile-final-client-test-invalid-alternate-alg', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k', use: 'sig' }
    const signedWithRS256 = ({ provider }: TestApp) => {
      provider.jwksAnswer = () => ({ body: { keys: [jwk] } })
      provider.signIdToken = (payload) =>
        new SignJWT(payload).setProtectedHeader({ alg: 'RS256', kid: 'k' }).sign(privateKey)
    }
    await refused(signedWithRS256)
    // It is for the provider to say what it signs with.
    await accepted((app) => {
      const { metadata } = app.provider
      app.provider.metadata = (usual) => ({
        ...metadata(usual),
        id_token_signing_alg_values_supported: ['PS256', 'RS256'],
      })
      signedWithRS256(app)
    })
  })
})

type Answer = Record<string, string>
type MakeAnswer = (app: TestApp, usual: Answer) => Answer | Promise<Answer>

/** Nothing is asked for with a code that comes with such an answer, and the flow is there for the true one. */
async function answered(client: Partial<OAuth2ClientOptions>, spoiled: MakeAnswer, whole: MakeAnswer): Promise<void> {
  let usual: Answer = {}
  const spoil = (app: TestApp) => {
    app.provider.authorizeAnswer = (_params, defaults) => {
      usual = defaults()
      return spoiled(app, usual)
    }
  }
  const result = await signIn(spoil, await scriptedBank(client))
  await expectRefused(result, result.outcome, STATE_INVALID)
  expect(result.provider.count('token')).toBe(0)
  const { status } = await back(
    result,
    `${result.url}/oauth2callback?${new URLSearchParams(await whole(result, usual))}`,
  )
  await expectAccepted(result, [status, undefined])
}

describe('authorization responses', () => {
  const plain = (change: (usual: Answer) => Answer) =>
    answered(
      {},
      (_app, usual) => change(usual),
      (_app, usual) => usual,
    )
  const without = (name: string) => (usual: Answer) =>
    Object.fromEntries(Object.entries(usual).filter(([key]) => key !== name))

  test('fapi2-security-profile-final-client-test-invalid-authorization-response-iss', () =>
    plain((usual) => ({ ...usual, iss: 'https://evil.example' })))
  test('fapi2-security-profile-final-client-test-remove-authorization-response-iss', () => plain(without('iss')))
  test('fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails', () =>
    plain((usual) => ({ ...usual, state: `${usual.state}1` })))
  test('fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails', () =>
    plain(without('state')))
})

describe('token responses, APIs and discovery', () => {
  test('fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in', () =>
    accepted(inToken(({ expires_in: _, ...body }) => body)))
  test('fapi2-security-profile-final-client-test-token-type-case-insensitivity', () =>
    accepted(inToken((body) => ({ ...body, token_type: 'dpOp' }))))

  test('fapi2-security-profile-final-client-test-rs-dpop-auth-scheme-case-insensitivity', async () => {
    const { provider } = await accepted((app) => {
      app.provider.apiAnswer = (_params, _defaults, { headers }) =>
        decodeJwt(String(headers.dpop)).nonce === 'n-1'
          ? { body: { balance: 1 } }
          : { status: 401, headers: { 'dpop-nonce': 'n-1', 'www-authenticate': 'dpOp error="use_dpop_nonce"' } }
    })
    expect(provider.count('api')).toBe(2)
  })

  test('fapi2-security-profile-final-client-test-discovery-issuer-mismatch', async () => {
    const { browser, url, provider } = await startApp(await scriptedBank())
    const { metadata } = provider
    provider.metadata = (usual) => ({ ...metadata(usual), issuer: 'https://evil.example' })
    expect((await browser.goto(`${url}/profile`)).status).toBe(500)
    expect([provider.count('par'), provider.count('authorize')]).toEqual([0, 0])
  })
})

describe('signed authorization responses', () => {
  /** The answer in another JWT than the provider would have made of it. */
  const inJwt = (make: (app: TestApp, usual: Answer) => Promise<string>) =>
    answered(
      SIGNED,
      async (app, usual) => ({ response: await make(app, usual) }),
      async ({ provider }, usual) => ({ response: await provider.signAnswer(usual) }),
    )
  const saying = (change: Record<string, unknown>) => inJwt(({ provider }, usual) => provider.signAnswer(usual, change))

  test('fapi2-security-profile-final-client-test-ensure-jarm-without-iss-fails', () => saying({ iss: undefined }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-iss-fails', () =>
    saying({ iss: 'https://evil.example' }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-without-aud-fails', () => saying({ aud: undefined }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-aud-fails', () =>
    saying({ aud: 'another-client' }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-without-exp-fails', () => saying({ exp: undefined }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-with-expired-exp-fails', () =>
    saying({ exp: Math.floor(Date.now() / 1000) - 301 }))
  test('fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-sig-fails', () =>
    inJwt(async ({ provider }, usual) => damaged(await provider.signAnswer(usual))))
  test('fapi2-security-profile-final-client-test-ensure-jarm-signature-is-not-none', () =>
    inJwt(async ({ provider }, usual) => {
      const exp = Math.floor(Date.now() / 1000) + 600
      return new UnsecuredJWT({ ...usual, iss: provider.issuer, aud: provider.clientId, exp }).encode()
    }))
})
