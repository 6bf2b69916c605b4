import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { jwtVerify } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import {
  clientCredentialsGrant,
  type JwtBearerOptions,
  jwtBearerGrant,
  Provider,
  type SigningKey,
  tokenExchangeGrant,
  tokenTypes,
} from '../../src/flows/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { fakeClock } from '../helpers/clock.js'
import { type Answer, startScriptedProvider } from '../helpers/scripted-provider.js'

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('this should have failed'),
    (error: Error & { code?: string; kind?: string }) => error,
  )

/** A provider that answers any token request with these tokens. */
async function scripted(answer: Answer | object = {}) {
  const server = await startScriptedProvider()
  onTestFinished(() => server.close())
  const clock = fakeClock()
  const body = { access_token: 'at-canary', token_type: 'Bearer', expires_in: 60, ...answer }
  server.tokenAnswer = () => ('status' in answer ? (answer as Answer) : { body })
  const { issuer, clientId, clientSecret } = server
  const provider = new Provider({
    provider: { issuer },
    clientId,
    clientSecret: clientSecret as string,
    clock: clock.now,
    timeout: 500,
  })
  const sent = () => {
    const { allParams, params } = server.requests.findLast(({ endpoint }) => endpoint === 'token') ?? expect.fail()
    return { all: (name: string) => allParams.getAll(name), params }
  }
  return { server, provider, clock, sent }
}

describe('client credentials', () => {
  test('a real authorization server gives the service tokens of its own', async () => {
    const server = await startAuthorizationServer({ scopes: { 'files.read': {}, 'mail.read': {} } })
    onTestFinished(() => server.close())
    const { issuer, clientId, clientSecret } = server
    const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
    const tokens = await clientCredentialsGrant(provider, { scopes: ['files.read'] })
    expect(tokens).toMatchObject({ tokenType: 'Bearer', scopes: ['files.read'] })
    expect(tokens).not.toHaveProperty('refreshToken')
    const wrong = new Provider({ provider: { issuer }, clientId, clientSecret: 'wrong' })
    expect(await failureOf(clientCredentialsGrant(wrong))).toMatchObject({ kind: 'client', error: 'invalid_client' })
  })

  test('resources, audiences and further fields are sent, each as often as it was given', async () => {
    const { provider, sent } = await scripted()
    await clientCredentialsGrant(provider, {
      scopes: ['a', 'b'],
      resource: ['https://one.example/', 'urn:two'],
      audience: 'three',
      params: { tenant: 'x' },
    })
    expect(sent().params).toMatchObject({
      grant_type: 'client_credentials',
      scope: 'a b',
      audience: 'three',
      tenant: 'x',
    })
    expect(sent().all('resource')).toEqual(['https://one.example/', 'urn:two'])
  })

  test('an ID token that nobody asked for is dropped; the tokens become credentials', async () => {
    const { provider, server, clock } = await scripted({ id_token: 'nonsense' })
    const tokens = await clientCredentialsGrant(provider)
    expect(tokens).toEqual({ accessToken: 'at-canary', tokenType: 'Bearer', expiresAt: clock.now() + 60_000 })
    const credentials = Credentials.fromTokenSet(provider, tokens, ['asked'])
    expect(JSON.parse(credentials.serialize())).toMatchObject({
      accessToken: 'at-canary',
      expiresAt: clock.now() + 60_000,
      issuer: server.issuer,
      clientId: server.clientId,
      scopes: ['asked'],
    })
    const answered = Credentials.fromTokenSet(provider, { ...tokens, scopes: ['less'] }, ['asked', 'less'])
    expect(answered.scopes).toEqual(['less'])
  })

  test.each([
    [{ resource: 'not a URI' }, 'resource'],
    [{ resource: 'https://a.example/#x' }, 'resource'],
    [{ resource: '' }, 'resource'],
    [{ audience: [''] }, 'audience'],
    [{ scopes: ['a b'] }, 'scopes'],
    [{ params: { client_secret: 'x' } }, 'client_secret'],
    [{ params: { grant_type: 'x' } }, 'grant_type'],
    [{ params: { scope: 'x' } }, 'scope'],
    [{ params: { x: 5 as unknown as string } }, 'params'],
    [{ params: { x: 5 as unknown as string } }, 'x'],
  ])('%j is refused by name, and nothing is sent', async (options, name) => {
    const { provider, server } = await scripted()
    const failure = await failureOf(clientCredentialsGrant(provider, options))
    expect(failure).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(`"${name}"`) })
    expect(server.requests).toEqual([])
  })
})

describe('token exchange', () => {
  test('subject, actor, target and what is wanted are sent; what was issued is said', async () => {
    const { provider, sent } = await scripted({ issued_token_type: tokenTypes.jwt, scope: 'a' })
    const tokens = await tokenExchangeGrant(provider, {
      subjectToken: 'st-canary',
      subjectTokenType: tokenTypes.idToken,
      actorToken: 'act-canary',
      requestedTokenType: tokenTypes.jwt,
      audience: ['one', 'two'],
      resource: 'https://api.example',
      scopes: ['a', 'b'],
    })
    expect(tokens).toMatchObject({ accessToken: 'at-canary', issuedTokenType: tokenTypes.jwt, scopes: ['a'] })
    expect(sent().params).toMatchObject({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: 'st-canary',
      subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
      actor_token: 'act-canary',
      actor_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      requested_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      resource: 'https://api.example',
      scope: 'a b',
    })
    expect(sent().all('audience')).toEqual(['one', 'two'])
  })

  test('the least that can be asked', async () => {
    const { provider, sent } = await scripted()
    expect(await tokenExchangeGrant(provider, { subjectToken: 'st' })).not.toHaveProperty('issuedTokenType')
    const { client_id: _, client_secret: __, ...params } = sent().params
    expect(params).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: 'st',
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    })
  })

  test('what is no access token (N_A) comes back as such, and makes no credentials', async () => {
    const { provider } = await scripted({ token_type: 'N_A', issued_token_type: tokenTypes.refreshToken })
    const tokens = await tokenExchangeGrant(provider, { subjectToken: 'st' })
    expect(tokens).toMatchObject({ tokenType: 'N_A', issuedTokenType: tokenTypes.refreshToken })
    expect(() => Credentials.fromTokenSet(provider, tokens)).toThrow(
      expect.objectContaining({ code: 'FST_OAUTH2_CREDENTIALS_INVALID' }),
    )
    expect(await failureOf(clientCredentialsGrant(provider))).toMatchObject({ kind: 'unusable' })
  })

  test.each([
    ['subjectToken', {}],
    ['subjectTokenType', {}],
    ['actorToken', {}],
    ['actorTokenType', { actorToken: 'x' }],
    ['requestedTokenType', {}],
  ])('an empty %s, or one that is no text, is refused by name, and nothing is sent', async (option, others) => {
    const { provider, server } = await scripted()
    for (const none of ['', 5, null]) {
      const failure = await failureOf(tokenExchangeGrant(provider, { subjectToken: 'x', ...others, [option]: none }))
      expect(failure).toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: `Option "${option}": must be a non-empty string.`,
      })
    }
    expect(server.requests).toEqual([])
  })

  test('a refusal says why, and not with which token', async () => {
    const { provider } = await scripted({
      status: 400,
      body: { error: 'invalid_target', error_description: 'st-canary' },
    })
    const failure = await failureOf(tokenExchangeGrant(provider, { subjectToken: 'st-canary' }))
    expect(failure).toMatchObject({ kind: 'refused', error: 'invalid_target' })
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('canary')
  })
})

const keys = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  ed25519: generateKeyPairSync('ed25519').privateKey,
}

describe('JWT bearer', () => {
  /** What the server finds in the assertion, with the public half of a key. */
  async function assertion(options: JwtBearerOptions, key: KeyObject = keys.rsa) {
    const { provider, server, clock, sent } = await scripted()
    await jwtBearerGrant(provider, options)
    const { params } = sent()
    expect(params.grant_type).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
    const currentDate = new Date(clock.now())
    const { payload, protectedHeader } = await jwtVerify(params.assertion as string, createPublicKey(key), {
      currentDate,
    })
    return { payload, header: protectedHeader, params, server, now: Math.floor(clock.now() / 1000) }
  }

  test('SA-4 one signature and one POST: who vouches for whom, to whom, for how long', async () => {
    const { payload, header, params, server, now } = await assertion({
      key: keys.rsa,
      keyId: 'k1',
      issuer: 'robot@example.com',
      subject: 'alice@example.com',
      scopes: ['a', 'b'],
      resource: 'https://api.example',
      claims: { scope: 'c', 'https://example.com/x': [1] },
    })
    expect(header).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'k1' })
    expect(payload).toEqual({
      iss: 'robot@example.com',
      sub: 'alice@example.com',
      aud: `${server.issuer}/token`,
      iat: now - 60,
      exp: now - 60 + 300,
      jti: expect.any(String),
      scope: 'c',
      'https://example.com/x': [1],
    })
    expect(params).toMatchObject({ scope: 'a b', resource: 'https://api.example' })
    expect([server.count('token'), server.requests.length]).toEqual([1, 2])
  })

  test('by default the client speaks for itself; the audience can be another, the subject left out', async () => {
    const { payload, server } = await assertion({ key: keys.rsa })
    expect(payload).toMatchObject({ iss: server.clientId, sub: server.clientId })
    const other = await assertion({ key: keys.rsa, audience: server.issuer, subject: null, issuer: 'i' })
    expect(other.payload).toMatchObject({ aud: server.issuer, iss: 'i' })
    expect(other.payload).not.toHaveProperty('sub')
    expect(other.params).not.toHaveProperty('audience')
    expect(other.payload.jti).not.toBe(payload.jti)
  })

  const jwk = (key: KeyObject, extra: object = {}) => ({ ...key.export({ format: 'jwk' }), ...extra })
  const pem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1') => String(key.export({ type, format: 'pem' }))
  test.each<[string, SigningKey | Promise<SigningKey>, KeyObject, string, string | undefined]>([
    ['PKCS #8', pem(keys.rsa, 'pkcs8'), keys.rsa, 'RS256', undefined],
    ['PKCS #1', pem(keys.rsa, 'pkcs1'), keys.rsa, 'RS256', undefined],
    ['SEC 1', pem(keys.p256, 'sec1'), keys.p256, 'ES256', undefined],
    [
      'PEM from an environment variable',
      pem(keys.p256, 'pkcs8').replaceAll('\n', '\\n'),
      keys.p256,
      'ES256',
      undefined,
    ],
    ['JWK', jwk(keys.p384), keys.p384, 'ES384', undefined],
    ['JWK with kid and alg', jwk(keys.rsa, { kid: 'k', alg: 'PS512' }), keys.rsa, 'PS512', 'k'],
    ['P-521', keys.p521, keys.p521, 'ES512', undefined],
    ['Ed25519', keys.ed25519, keys.ed25519, 'EdDSA', undefined],
    ['CryptoKey', cryptoKey(keys.p256), keys.p256, 'ES256', undefined],
  ])('the algorithm goes by the key: %s', async (_name, key, own, alg, kid) => {
    const { header } = await assertion({ key: await key }, own)
    expect([header.alg, header.kid]).toEqual([alg, kid])
  })

  test('another algorithm of the same key', async () => {
    expect((await assertion({ key: keys.rsa, algorithm: 'PS256' })).header.alg).toBe('PS256')
  })

  test.each<readonly [name: string, options: object, option: string, detail?: string]>([
    ['a public key', { key: createPublicKey(keys.rsa) }, 'key'],
    ['a secret', { key: { kty: 'oct', k: 'canary-canary-canary-canary-canary-canary-canary' } }, 'key'],
    ['a public JWK', { key: createPublicKey(keys.rsa).export({ format: 'jwk' }) }, 'key'],
    ['no key', { key: '' }, 'key'],
    ['nonsense', { key: '-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----' }, 'key'],
    [
      'an encrypted key',
      { key: keys.rsa.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'canary' }) },
      'key',
    ],
    ['a short RSA key', { key: generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey }, 'key'],
    ['a key for something else', { key: generateKeyPairSync('x25519').privateKey }, 'algorithm'],
    [
      'RSA-PSS, which the library cannot use',
      { key: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey },
      'algorithm',
    ],
    ['another curve', { key: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey }, 'algorithm'],
    ['HS256', { key: keys.rsa, algorithm: 'HS256' }, 'algorithm'],
    ['none', { key: keys.rsa, algorithm: 'none' }, 'algorithm'],
    ['ES256 with an RSA key', { key: keys.rsa, algorithm: 'ES256' }, 'algorithm'],
    ...['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti'].map(
      (name) => [`a claim ${name}`, { key: keys.rsa, claims: { [name]: 'x' } }, 'claims', `"${name}"`] as const,
    ),
    ['more than an hour', { key: keys.rsa, lifetime: 3601 }, 'lifetime'],
    ['less than a second', { key: keys.rsa, lifetime: 0.5 }, 'lifetime'],
    ['no time at all', { key: keys.rsa, lifetime: 0 }, 'lifetime'],
    ['less than no time', { key: keys.rsa, lifetime: -1 }, 'lifetime'],
    ['no number', { key: keys.rsa, lifetime: Number.NaN }, 'lifetime'],
    ['a clock that is behind', { key: keys.rsa, clockTolerance: -1 }, 'clockTolerance'],
    ['an assertion that is over at once', { key: keys.rsa, lifetime: 60, clockTolerance: 60 }, 'clockTolerance'],
    ['a tolerance that is no number', { key: keys.rsa, clockTolerance: Number.NaN }, 'clockTolerance'],
    ['no issuer', { key: keys.rsa, issuer: '', subject: 's' }, 'issuer'],
    ['no subject', { key: keys.rsa, subject: '' }, 'subject'],
    ['no audience', { key: keys.rsa, audience: '' }, 'audience'],
    ['an empty assertion', { assertion: '' }, 'assertion'],
    ['a protected field', { key: keys.rsa, params: { assertion: 'x' } }, 'params'],
  ])(
    '%s is refused by name, without showing the key, and nothing is sent',
    async (_name, options, option, detail = '') => {
      const { provider, server } = await scripted()
      const failure = await failureOf(jwtBearerGrant(provider, options as unknown as JwtBearerOptions))
      expect(failure).toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: expect.stringMatching(new RegExp(`^Option "${option}": .+${detail}`)),
      })
      expect(inspect(failure, { depth: 9, showHidden: true })).not.toMatch(/canary|BEGIN/)
      expect(server.count('token')).toBe(0)
    },
  )

  test('lifetime and clock: an hour at most, and never longer than that by the claims', async () => {
    const { payload, now } = await assertion({ key: keys.rsa, lifetime: 3600, clockTolerance: 0 })
    expect([payload.iat, payload.exp]).toEqual([now, now + 3600])
    const short = await assertion({ key: keys.rsa, lifetime: 30 })
    expect([short.payload.iat, short.payload.exp]).toEqual([short.now - 15, short.now + 15])
  })

  test('an assertion that was signed elsewhere is sent as it is', async () => {
    const { provider, sent } = await scripted()
    await jwtBearerGrant(provider, { assertion: 'from.a.kms', scopes: ['a'] })
    expect(sent().params).toMatchObject({ assertion: 'from.a.kms', scope: 'a' })
  })

  test('a server that does not accept the assertion', async () => {
    const { provider, sent } = await scripted({ status: 400, body: { error: 'invalid_grant' } })
    const failure = await failureOf(jwtBearerGrant(provider, { key: keys.rsa }))
    expect(failure).toMatchObject({ kind: 'invalid_grant' })
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(sent().params.assertion)
  })

  test('an ID token is accepted where it was asked for, and verified', async () => {
    const { provider, server } = await scripted()
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: server.issuer, aud: server.clientId, sub: 's', iat: now, exp: now + 60 }
    const answer = (id_token: string) => {
      server.tokenAnswer = () => ({ body: { access_token: 'at', token_type: 'Bearer', id_token } })
      return jwtBearerGrant(provider, { key: keys.rsa, scopes: ['openid'] })
    }
    expect(await answer(await server.sign(claims))).toMatchObject({ claims: { sub: 's' } })
    expect(await failureOf(answer(await server.sign({ ...claims, aud: 'other' })))).toMatchObject({ kind: 'unusable' })
    // Where it was not, it is not even read.
    for (const scopes of [undefined, ['files.read']]) {
      const tokens = await jwtBearerGrant(provider, { key: keys.rsa, ...(scopes && { scopes }) })
      expect(tokens).toMatchObject({ accessToken: 'at' })
      expect(tokens).not.toHaveProperty('claims')
    }
  })
})

/** One that cannot be taken out again. */
function cryptoKey(key: KeyObject): Promise<CryptoKey> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  return crypto.subtle.importKey('pkcs8', pkcs8, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
}
