// The relying-party modules of the OpenID conformance suite for the code flow, by their names: what each server does, and what a
// client that passes has to do.
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../helpers/app.js'
import { damaged, expectAccepted, expectRefused, signIn } from './modules.js'

const claims = (change: Record<string, unknown>) => (app: TestApp) => {
  app.provider.idTokenClaims = (usual) => ({ ...usual, ...change }) as JWTPayload
}
const signed = (sign: (app: TestApp, claims: JWTPayload) => Promise<string>) => (app: TestApp) => {
  app.provider.signIdToken = (payload) => sign(app, payload)
}
const accepted = async (spoil?: (app: TestApp) => unknown) => {
  const result = await signIn(spoil)
  await expectAccepted(result, result.outcome)
  return result
}
const refused = async (spoil: (app: TestApp) => unknown) => {
  const result = await signIn(spoil)
  await expectRefused(result, result.outcome)
}

/** Keys of another kind than the provider's own, published and used. */
async function signWith(app: TestApp, alg: string, { published = true, kid = 'k' as string | undefined } = {}) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), alg, use: 'sig', ...(kid ? { kid } : {}) }
  if (published) app.provider.jwksAnswer = () => ({ body: { keys: [jwk] } })
  app.provider.metadata = (usual) => ({ ...usual, id_token_signing_alg_values_supported: ['RS256', alg] })
  app.provider.signIdToken = (payload) =>
    new SignJWT(payload).setProtectedHeader({ alg, ...(kid ? { kid } : {}) }).sign(privateKey)
}

describe('basic code flow', () => {
  test('oidcc-client-test', async () => {
    const { asked, provider } = await accepted()
    expect(Object.fromEntries(asked)).toMatchObject({
      response_type: 'code',
      scope: expect.stringMatching(/(^| )openid( |$)/),
      state: expect.stringMatching(/^.{22,}$/),
      nonce: expect.stringMatching(/^.{22,}$/),
    })
    expect(asked.get('response_mode')).toBeNull()
    expect(provider.count('token')).toBe(1)
  })

  test('oidcc-client-test-invalid-iss', () => refused(claims({ iss: 'https://evil.example' })))
  test('oidcc-client-test-missing-sub', () => refused(claims({ sub: undefined })))
  test('oidcc-client-test-invalid-aud', () => refused(claims({ aud: 'another-client' })))
  test('oidcc-client-test-missing-aud', () => refused(claims({ aud: undefined })))
  test('oidcc-client-test-missing-iat', () => refused(claims({ iat: undefined })))
  test('oidcc-client-test-nonce-invalid', () => refused(claims({ nonce: 'another' })))
  test('oidcc-client-test-invalid-athash', () => refused(claims({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' })))

  test('oidcc-client-test-idtoken-sig-rs256', () => accepted())
  test('oidcc-client-test-idtoken-sig-none', () =>
    refused(signed(async (_app, payload) => new UnsecuredJWT(payload).encode())))
  test('oidcc-client-test-invalid-sig-rs256', () =>
    refused(signed((app, payload) => app.provider.sign(payload).then(damaged))))
  test('oidcc-client-test-invalid-sig-es256', () => refused((app) => signWith(app, 'ES256', { published: false })))
  test('oidcc-client-test-invalid-sig-hs256', () =>
    refused(
      signed((app, payload) =>
        new SignJWT(payload)
          .setProtectedHeader({ alg: 'HS256' })
          .sign(Buffer.from(app.provider.clientSecret as string)),
      ),
    ))

  test('oidcc-client-test-kid-absent-single-jwks', () => accepted((app) => signWith(app, 'ES256', { kid: undefined })))
  test('oidcc-client-test-kid-absent-multiple-jwks', async () => {
    // Both answers would pass: we try the keys, and refuse where none of them fits.
    const pairs = await Promise.all([1, 2, 3].map(() => generateKeyPair('RS256', { extractable: true })))
    const [first, second, unpublished] = pairs as [GenerateKeyPairResult, GenerateKeyPairResult, GenerateKeyPairResult]
    const published = await Promise.all([first, second].map(({ publicKey }) => exportJWK(publicKey)))
    const signedWith =
      ({ privateKey }: GenerateKeyPairResult) =>
      (app: TestApp) => {
        app.provider.jwksAnswer = () => ({
          body: { keys: published.map((jwk) => ({ ...jwk, alg: 'RS256', use: 'sig' })) },
        })
        app.provider.signIdToken = (payload) =>
          new SignJWT(payload).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
      }
    await accepted(signedWith(first))
    await accepted(signedWith(second))
    await refused(signedWith(unpublished))
  })

  test('oidcc-client-test-client-secret-basic', async () => {
    const app = await startApp({ client: { clientAuthentication: 'client_secret_basic' } })
    await app.browser.goto(`${app.url}/profile`)
    const [request] = app.provider.requests.filter(({ endpoint }) => endpoint === 'token')
    expect(request?.headers.authorization).toMatch(/^Basic /)
    expect(request?.params.client_secret).toBeUndefined()
    expect((await app.browser.goto(`${app.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
  })
})

describe('userinfo', () => {
  const inUserinfo = (app: TestApp, sub = 'sub-alice') => {
    app.provider.idTokenClaims = ({ email: _, ...usual }) => usual
    app.provider.userinfoAnswer = () => ({ body: { sub, email: 'alice@userinfo.example', locale: 'de' } })
  }

  test('oidcc-client-test-userinfo-invalid-sub', () => refused((app) => inUserinfo(app, 'sub-eve')))
  test('oidcc-client-test-scope-userinfo-claims', async () => {
    const { browser, url } = await accepted((app) => inUserinfo(app))
    expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({
      email: 'alice@userinfo.example',
      claims: { locale: 'de' },
    })
  })
  test('oidcc-client-test-userinfo-bearer-header', async () => {
    const { provider } = await accepted((app) => inUserinfo(app))
    const [request] = provider.requests.filter(({ endpoint }) => endpoint === 'userinfo')
    expect(request?.headers.authorization).toMatch(/^Bearer \S+$/)
    expect(request?.url).not.toContain('access_token')
  })
  test('oidcc-client-test-userinfo-signed', async () => {
    const info = (app: TestApp) => ({
      iss: app.provider.issuer,
      aud: app.provider.clientId,
      sub: 'sub-alice',
      email: 'alice@userinfo.example',
    })
    const jwt = (make: (app: TestApp) => Promise<string>) => (app: TestApp) => {
      inUserinfo(app)
      app.provider.metadata = (usual) => ({ ...usual, userinfo_signing_alg_values_supported: ['RS256'] })
      app.provider.userinfoAnswer = async () => ({
        headers: { 'content-type': 'application/jwt' },
        body: await make(app),
      })
    }
    const whole = await accepted(jwt((app) => app.provider.sign(info(app))))
    expect((await whole.browser.goto(`${whole.url}/profile`)).json().email).toBe('alice@userinfo.example')
    // Who it is, is known from the ID token; what nobody can vouch for is left out.
    const forged = await accepted(jwt((app) => app.provider.sign(info(app)).then(damaged)))
    expect((await forged.browser.goto(`${forged.url}/profile`)).json().email).toBeNull()
  })
})

describe('discovery and keys', () => {
  test('oidcc-client-test-discovery-openid-config', async () => {
    const { provider } = await accepted()
    expect(provider.requests[0]?.url).toBe('/.well-known/openid-configuration')
  })
  test('oidcc-client-test-discovery-issuer-mismatch', async () => {
    const { browser, url, provider } = await startApp()
    provider.metadata = (usual) => ({ ...usual, issuer: 'https://evil.example' })
    expect((await browser.goto(`${url}/profile`)).status).toBe(500)
    expect(provider.count('authorize')).toBe(0)
  })
  test('oidcc-client-test-discovery-jwks-uri-keys', async () => {
    const { provider } = await accepted()
    expect(provider.count('jwks')).toBe(1)
  })
  test('oidcc-client-test-signing-key-rotation', async () => {
    const { browser, url, provider } = await accepted()
    await provider.rotateKeys()
    await browser.goto(`${url}/oauth2authorize?return_url=/profile`)
    expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  })
  test('oidcc-client-test-signing-key-rotation-just-before-signing', () =>
    accepted((app) => {
      app.provider.tokenAnswer = async (_params, defaults) => {
        await app.provider.rotateKeys()
        return defaults()
      }
    }))
})

describe('refresh tokens', () => {
  async function refreshed(change: (usual: JWTPayload) => JWTPayload) {
    const app = await startApp()
    await app.browser.goto(`${app.url}/profile`)
    const { provider, clock, browser, url } = app
    provider.tokenAnswer = async (params, defaults) => {
      const { body } = await defaults()
      if (params.grant_type !== 'refresh_token') return { body }
      const now = Math.floor(Date.now() / 1000)
      const usual = { iss: provider.issuer, aud: provider.clientId, sub: 'sub-alice', iat: now, exp: now + 300 }
      return { body: { ...body, id_token: await provider.sign(change(usual)) } }
    }
    clock.advance(3_600_000)
    return { page: await browser.xhr(`${url}/profile`), app }
  }

  test('oidcc-client-test-refresh-token', async () => {
    const { page, app } = await refreshed((usual) => usual)
    expect(page.status).toBe(200)
    const request = app.provider.requests.findLast(({ endpoint }) => endpoint === 'token')
    expect(request?.params).toMatchObject({ grant_type: 'refresh_token', refresh_token: expect.any(String) })
  })
  test('oidcc-client-test-refresh-token-invalid-issuer', async () => {
    const { page } = await refreshed((usual) => ({ ...usual, iss: 'https://evil.example' }))
    expect(page.status).not.toBe(200)
  })
  test('oidcc-client-test-refresh-token-invalid-sub', async () => {
    const { page } = await refreshed((usual) => ({ ...usual, sub: 'sub-eve' }))
    expect(page.status).toBe(401)
  })
})
