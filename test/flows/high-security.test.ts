/** FAPI 2.0 and its parts, with an authorization server that takes nothing less. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import Fastify from 'fastify'
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  authorizationCodeGrant,
  authorizationUrl,
  introspectToken,
  Provider,
  type ProviderConfig,
  type ResponseMode,
  refreshTokenGrant,
  revokeToken,
  type SigningKey,
} from '../../src/flows/index.js'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { runLocalServerFlow } from '../../src/installed/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { Browser } from '../helpers/browser.js'
import { startFapiServer } from '../helpers/fapi-server.js'
import { listen } from '../helpers/listen.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { describeEachSession } from '../helpers/session-plugins.js'

const redirectUri = 'http://127.0.0.1:9/callback'

async function keyFor(algorithm: string) {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  const named = { alg: algorithm, kid: 'client' }
  const clientKey = { ...(await exportJWK(privateKey)), ...named }
  return { clientKey, publicKey: { ...(await exportJWK(publicKey)), ...named, use: 'sig' } }
}

describe('FAPI 2.0 message signing', () => {
  test.each(['PS256', 'ES256', 'EdDSA'])('%s: the whole way without Fastify', async (algorithm) => {
    const { clientKey, publicKey } = await keyFor(algorithm)
    const server = await startFapiServer(publicKey, algorithm)
    await server.open(redirectUri)
    const { issuer, clientId } = server
    // What the provider requires need not be said.
    const provider = new Provider({ provider: { issuer }, clientId, clientKey, responseMode: 'jwt' })
    const { url, request } = await authorizationUrl(provider, {
      redirectUri,
      scopes: ['openid', 'email', 'offline_access'],
      prompt: 'consent',
      params: { max_age: '300', claims: '{"userinfo":{"email":null}}' },
    })
    expect([...new URL(url).searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    const { location } = await new Browser().goto(url, { stopAt: ({ pathname }) => pathname === '/callback' })
    const answer = new URL(location as string).searchParams
    expect([...answer.keys()]).toEqual(['response'])
    expect(decodeProtectedHeader(answer.get('response') as string).alg).toBe(algorithm)
    const remembered = JSON.parse(JSON.stringify(request))
    const tokens = await authorizationCodeGrant(provider, remembered, location as string)
    expect(tokens.claims).toMatchObject({ sub: 'alice', nonce: request.nonce })
    expect(decodeProtectedHeader(tokens.idToken as string).alg).toBe(algorithm)
    const refreshed = await refreshTokenGrant(provider, tokens.refreshToken as string)
    expect(await introspectToken(provider, refreshed.accessToken)).toMatchObject({ active: true, clientId })
    expect(await revokeToken(provider, refreshed.accessToken, 'access_token')).toBe('revoked')
    expect(await introspectToken(provider, refreshed.accessToken)).toMatchObject({ active: false })
  })

  describeEachSession((variant) => {
    test.each<ResponseMode>(['query.jwt', 'form_post.jwt'])('%s: the whole way in an app', async (responseMode) => {
      const { clientKey, publicKey } = await keyFor('PS256')
      const server = await startFapiServer(publicKey, 'PS256')
      const app = Fastify()
      onTestFinished(() => app.close())
      variant.register(app)
      app.register(oauth2Client, {
        provider: { issuer: server.issuer },
        clientId: server.clientId,
        clientKey,
        pushedAuthorizationRequests: true,
        signedRequestObjects: true,
        responseMode,
        storage: memoryStore(),
        encryptionKeys: 'encryption-key-of-this-test-of-enough-length',
      })
      app.get('/me', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({ user: oauth2.userId }))
      const url = (await listen(app)).replace('localhost', '127.0.0.1')
      await server.open(`${url}/oauth2callback`)
      const browser = new Browser()
      let page = await browser.goto(`${url}/me`)
      if (responseMode === 'form_post.jwt') page = await browser.submit(page)
      expect([page.url, page.json()]).toEqual([`${url}/me`, { user: 'alice' }])
      expect(server.requests.filter((request) => request.startsWith('POST'))).toEqual(['POST /request', 'POST /token'])
    })
  })

  test('is refused by such a server in parts: a request that is not signed', async () => {
    const { clientKey, publicKey } = await keyFor('ES256')
    const server = await startFapiServer(publicKey, 'ES256')
    await server.open(redirectUri)
    const { issuer, clientId } = server
    const provider = new Provider({ provider: { issuer }, clientId, clientKey, signedRequestObjects: false })
    const failure = await authorizationUrl(provider, { redirectUri }).catch((error) => error)
    expect(failure).toMatchObject({ name: 'ProviderFailure', kind: 'refused', status: 400 })
  })
})

async function scripted(
  config: Partial<ProviderConfig>,
  metadata: Readonly<Record<string, unknown>> = {},
  clientSecret: string | null = null,
) {
  const server = await startScriptedProvider({ clientSecret })
  onTestFinished(() => server.close())
  server.parAnswer = (_params, defaults) => defaults()
  server.metadata = (given) => ({ ...given, token_endpoint_auth_methods_supported: undefined, ...metadata })
  const { issuer, clientId } = server
  return {
    server,
    provider: new Provider({ provider: { issuer }, clientId, clientSecret: clientSecret ?? undefined, ...config }),
  }
}

describe('a signed request object', () => {
  test('holds every parameter, and nothing of it is beside it', async () => {
    const { clientKey } = await keyFor('ES256')
    let now = Date.now() + 3_600_000
    const { provider } = await scripted({ clientKey, signedRequestObjects: true, clock: () => now })
    const ask = () => authorizationUrl(provider, { redirectUri, scopes: ['a', 'b'], params: { max_age: '60' } })
    const { url, request } = await ask()
    const { searchParams } = new URL(url)
    expect([...searchParams.keys()].sort()).toEqual(['client_id', 'request'])
    const object = searchParams.get('request') as string
    expect(decodeProtectedHeader(object)).toEqual({ alg: 'ES256', kid: 'client', typ: 'oauth-authz-req+jwt' })
    const claims = decodeJwt(object)
    expect(claims).toMatchObject({
      iss: provider.clientId,
      aud: provider.issuer,
      client_id: provider.clientId,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'a b',
      state: request.state,
      code_challenge_method: 'S256',
      max_age: 60,
    })
    expect(claims.exp).toBe(Math.floor(now / 1000) + 50)
    expect(claims.nbf).toBe(Math.floor(now / 1000) - 10)
    now += 1_000
    expect(decodeJwt(new URL((await ask()).url).searchParams.get('request') as string).jti).not.toBe(claims.jti)
  })

  test('goes with a client secret too', async () => {
    const { clientKey } = await keyFor('ES256')
    const config = { clientKey, signedRequestObjects: true, pushedAuthorizationRequests: true }
    const { provider, server } = await scripted(config, {}, 'a-secret-of-the-client')
    const { url, request } = await authorizationUrl(provider, { redirectUri, scopes: ['a'] })
    expect(Object.keys(server.requests.at(-1)?.params ?? {}).sort()).toEqual(['client_id', 'client_secret', 'request'])
    const { location } = await new Browser().goto(url, { stopAt: ({ pathname }) => pathname === '/callback' })
    await expect(authorizationCodeGrant(provider, request, location as string)).resolves.toMatchObject({
      scopes: ['a'],
    })
  })

  test('what has to be JSON and is not is named', async () => {
    const { clientKey } = await keyFor('ES256')
    const { provider } = await scripted({ clientKey, signedRequestObjects: true })
    const asked = authorizationUrl(provider, { redirectUri, params: { claims: 'none' } })
    await expect(asked).rejects.toThrow(/"claims" and "authorization_details" must be JSON/)
  })
})

describe('clientKey', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const pem = rsa.export({ type: 'pkcs8', format: 'pem' }) as string
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const ed = generateKeyPairSync('ed25519').privateKey
  const listing = (...names: string[]) => ({ token_endpoint_auth_signing_alg_values_supported: names })

  test.each<[string, SigningKey, Record<string, unknown>, string]>([
    ['RSA, nothing listed', pem, {}, 'RS256'],
    ['RSA in one line', pem.replaceAll('\n', '\\n'), {}, 'RS256'],
    ['RSA, where PS256 is listed', rsa, listing('RS256', 'ES256', 'PS256'), 'PS256'],
    ['RSA, where PS256 is not', rsa, listing('RS512', 'RS384', 'ES256'), 'RS384'],
    [
      'a JWK that says what it is for',
      { ...rsa.export({ format: 'jwk' }), alg: 'RS256' },
      listing('PS256', 'RS256'),
      'RS256',
    ],
    ['P-256', ec, {}, 'ES256'],
    ['Ed25519 by its old name', ed, listing('EdDSA'), 'EdDSA'],
    ['Ed25519 by its new name', ed, listing('Ed25519'), 'Ed25519'],
  ])('%s: %#', async (_name, clientKey, metadata, algorithm) => {
    const { provider, server } = await scripted({ clientKey, pushedAuthorizationRequests: true }, metadata)
    await authorizationUrl(provider, { redirectUri })
    expect(decodeProtectedHeader(server.requests.at(-1)?.params.client_assertion as string).alg).toBe(algorithm)
  })

  test('a secret that is there too is what we prove ourselves with, unless the key is asked for', async () => {
    const sent = async (config: Partial<ProviderConfig>) => {
      const { provider, server } = await scripted(
        { clientKey: ec, pushedAuthorizationRequests: true, ...config },
        {},
        'secret',
      )
      await authorizationUrl(provider, { redirectUri }).catch(() => {})
      return Object.keys(server.requests.at(-1)?.params ?? {}).filter((name) => /secret|assertion$/.test(name))
    }
    expect(await sent({})).toEqual(['client_secret'])
    expect(await sent({ clientAuthentication: 'private_key_jwt' })).toEqual(['client_assertion'])
  })

  test.each<[string, unknown, RegExp]>([
    ['a public key', generateKeyPairSync('ed25519').publicKey, /"clientKey": must be a private key/],
    ['nonsense', 'BEGIN PRIVATE KEY', /"clientKey": must be a private key/],
    ['a number', 7, /"clientKey": must be a private key/],
    ['a short RSA key', generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, /"clientKey": is an RSA key/],
    ['a curve for agreement', generateKeyPairSync('x25519').privateKey, /"clientKey": this key cannot be used/],
    [
      'an algorithm of another kind',
      { ...ec.export({ format: 'jwk' }), alg: 'PS256' },
      /"clientKey": this key can be used with ES256/,
    ],
  ])('%s is refused, and not shown', (_name, clientKey, says) => {
    const config = { provider: { issuer: 'https://as.example' }, clientId: 'id', clientKey: clientKey as SigningKey }
    expect(() => new Provider(config)).toThrow(says)
    const provider = new Provider({ ...config, clientKey: createPrivateKey(pem) })
    expect(JSON.stringify(provider)).not.toMatch(/key/i)
  })

  test('without a secret and without encryptionKeys, production does not start', async () => {
    const { NODE_ENV } = process.env
    process.env.NODE_ENV = 'production'
    onTestFinished(() => {
      process.env.NODE_ENV = NODE_ENV
    })
    const app = Fastify()
    onTestFinished(() => app.close())
    app.register(oauth2Client, {
      provider: { issuer: 'https://as.example' },
      clientId: 'id',
      clientKey: pem,
      baseUrl: 'https://app.example',
    })
    await expect(async () => app.ready()).rejects.toThrow(/Option "encryptionKeys": is required/)
  })
})

describe('what the provider does not do', () => {
  const clientKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  test.each<[Partial<ProviderConfig>, Record<string, unknown>, RegExp]>([
    [
      { pushedAuthorizationRequests: true },
      { pushed_authorization_request_endpoint: undefined },
      /pushed_authorization_request_endpoint.*pushedAuthorizationRequests/,
    ],
    [
      {},
      { require_pushed_authorization_requests: true, pushed_authorization_request_endpoint: undefined },
      /pushed_authorization_request_endpoint/,
    ],
    [
      { pushedAuthorizationRequests: true },
      { pushed_authorization_request_endpoint: 'http://as.example/par' },
      /pushed_authorization_request_endpoint.*HTTPS/,
    ],
    [
      { clientKey, signedRequestObjects: true },
      { request_parameter_supported: false },
      /request_parameter_supported.*signedRequestObjects/,
    ],
    [
      { clientKey, signedRequestObjects: true },
      { request_object_signing_alg_values_supported: ['RS256', 'none'] },
      /none of ES256.*request_object_signing_alg.*clientKey/,
    ],
    [{}, { require_signed_request_object: true }, /require_signed_request_object.*clientKey/],
    [
      { responseMode: 'form_post' },
      { response_modes_supported: ['query', 'fragment'] },
      /"form_post".*response_modes_supported.*responseMode/,
    ],
    [
      { responseMode: 'jwt' },
      { authorization_signing_alg_values_supported: ['none', 'HS256'] },
      /authorization_signing_alg_values_supported.*responseMode/,
    ],
    [{ responseMode: 'jwt' }, { jwks_uri: undefined }, /jwks_uri.*responseMode/],
    [
      { clientKey },
      { token_endpoint_auth_methods_supported: ['client_secret_basic'] },
      /private_key_jwt.*token_endpoint_auth_methods_supported/,
    ],
    [
      { clientKey },
      { token_endpoint_auth_signing_alg_values_supported: ['PS256'] },
      /none of ES256.*token_endpoint_auth_signing.*clientKey/,
    ],
  ])('%#: is said before anybody is sent there', async (config, metadata, says) => {
    const { provider } = await scripted(config, metadata)
    const failure = await authorizationUrl(provider, { redirectUri, scopes: ['a'] }).catch((error) => error)
    expect(failure).toMatchObject({ code: 'FST_OAUTH2_PROVIDER_METADATA' })
    expect(failure.message).toMatch(says)
  })

  test.each<[Record<string, unknown>, RegExp]>([
    [{ responseMode: 'fragment' }, /"responseMode": must be one of "query", "form_post"/],
    [{ signedRequestObjects: true }, /"clientKey": is required for signedRequestObjects/],
    [{ pushedAuthorizationRequests: 'yes' }, /"pushedAuthorizationRequests": must be/],
    [{ signedRequestObjects: 1 }, /"signedRequestObjects": must be/],
    [{ clientAuthentication: 'private_key_jwt' }, /private_key_jwt.*clientKey/],
  ])('%j: nonsense is refused by name', (config, says) => {
    const base = { provider: { issuer: 'https://as.example' }, clientId: 'id' }
    expect(() => new Provider({ ...base, ...config } as ProviderConfig)).toThrow(says)
  })

  test('a program takes plain answers in URLs only', async () => {
    const { server } = await scripted({})
    const { issuer, clientId } = server
    const flow = runLocalServerFlow({
      provider: { issuer },
      clientId,
      responseMode: 'jwt',
      openBrowser: async () => {},
    })
    await expect(flow).rejects.toThrow(/Option "responseMode"/)
  })
})

test('B9: without Fastify too, a plain answer is none where a signed one was asked for, and the other way round', async () => {
  const { provider, server } = await scripted({ responseMode: 'jwt' })
  const plain = new Provider({ provider: provider.options, clientId: provider.clientId })
  const signed = await authorizationUrl(provider, { redirectUri, scopes: ['a'] })
  const { location } = await new Browser().goto(signed.url, { stopAt: ({ pathname }) => pathname === '/callback' })
  const answer = Object.fromEntries(
    Object.entries(decodeJwt(new URL(location as string).searchParams.get('response') as string)),
  )
  const { code, state } = answer as { code: string; state: string }
  const refused = { code: 'FST_OAUTH2_STATE_INVALID' }
  const inPlain = new URLSearchParams({ code, state, iss: server.issuer })
  await expect(authorizationCodeGrant(provider, signed.request, inPlain)).rejects.toMatchObject(refused)
  const { request } = await authorizationUrl(plain, { redirectUri, scopes: ['a'] })
  await expect(authorizationCodeGrant(plain, { ...request, state }, location as string)).rejects.toMatchObject(refused)
  const other = await new SignJWT({ code, state }).setProtectedHeader({ alg: 'HS256' }).sign(new Uint8Array(32))
  await expect(authorizationCodeGrant(provider, signed.request, `?response=${other}`)).rejects.toMatchObject(refused)
  expect(server.count('token')).toBe(0)
  await expect(authorizationCodeGrant(provider, signed.request, location as string)).resolves.toMatchObject({
    scopes: ['a'],
  })
})
