import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { type AuthorizationRequest, authorizationCodeGrant, authorizationUrl, Provider } from '../../src/flows/index.js'
import { type Answer, type ScriptedProviderOptions, startScriptedProvider } from '../helpers/scripted-provider.js'

const redirectUri = 'https://app.example.com/callback'

async function provided(options: ScriptedProviderOptions = {}) {
  const server = await startScriptedProvider(options)
  onTestFinished(() => server.close())
  const make = () =>
    new Provider({
      provider: { issuer: server.issuer },
      clientId: server.clientId,
      clientSecret: server.clientSecret as string,
    })
  return { server, make, provider: make() }
}

/** What the provider sends the browser back with. */
async function answerTo(url: string): Promise<URL> {
  const response = await fetch(url, { redirect: 'manual' })
  return new URL(response.headers.get('location') ?? expect.fail(await response.text()))
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('this should have failed'),
    (error: Error & { code?: string; kind?: string }) => error,
  )

test('FW-1 FW-6 the URL says who asks for what and where to go back, with a state, PKCE, a nonce, and the hints', async () => {
  const { provider, server } = await provided()
  const { url, request } = await authorizationUrl(provider, {
    redirectUri,
    scopes: ['openid', 'files.read'],
    prompt: 'consent',
    loginHint: 'alice@example.com',
    params: { access_type: 'offline', max_age: '60' },
  })
  expect(Object.fromEntries(new URL(url).searchParams)).toEqual({
    client_id: server.clientId,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'openid files.read',
    state: request.state,
    nonce: request.nonce,
    code_challenge: createHash('sha256').update(request.codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
    prompt: 'consent',
    login_hint: 'alice@example.com',
    access_type: 'offline',
    max_age: '60',
  })
  expect(url).not.toContain(server.clientSecret)
  expect(request).toMatchObject({ issuer: server.issuer, scopes: ['openid', 'files.read'], maxAge: 60 })
})

test('FW-2 extra parameters win over what the endpoint came with, and over nothing that protects the flow', async () => {
  const { provider, server } = await provided()
  server.metadata = (metadata) => ({
    ...metadata,
    authorization_endpoint: `${server.issuer}/authorize?prompt=none&tenant=1`,
  })
  const { url } = await authorizationUrl(provider, { redirectUri, params: { prompt: 'login' } })
  expect(new URL(url).searchParams.getAll('prompt')).toEqual(['login'])
  expect(new URL(url).searchParams.get('tenant')).toBe('1')
  for (const name of [
    'state',
    'redirect_uri',
    'code_challenge',
    'nonce',
    'client_id',
    'response_type',
    'request_uri',
  ]) {
    const refused = await failureOf(authorizationUrl(provider, { redirectUri, params: { [name]: 'mine' } }))
    const instead =
      name === 'request_uri' ? ': use the option "pushedAuthorizationRequests"' : ', which belongs to the flow'
    expect(refused).toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: `Option "params": may not set "${name}"${instead}.`,
    })
  }
})

test('what the provider itself adds is held to the same: nothing that protects the flow, and an age that is checked', async () => {
  const { server, provider } = await provided()
  const adding = (authorizationParams: Record<string, string>) =>
    new Provider({
      provider: { issuer: server.issuer, authorizationParams },
      clientId: server.clientId,
      clientSecret: server.clientSecret as string,
    })
  for (const name of ['response_type', 'state', 'redirect_uri', 'code_challenge_method']) {
    const refused = await failureOf(authorizationUrl(adding({ [name]: 'token' }), { redirectUri }))
    expect(refused).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID', message: expect.stringContaining(`"${name}"`) })
  }
  const aged = adding({ max_age: '60' })
  const { url, request } = await authorizationUrl(aged, { redirectUri, scopes: ['openid'] })
  expect(request.maxAge).toBe(60)
  server.idTokenClaims = (claims) => ({ ...claims, auth_time: now() - 3600 })
  const back = await answerTo(url)
  expect(await failureOf(authorizationCodeGrant(aged, request, back))).toMatchObject({ kind: 'unusable' })
  const sooner = await authorizationUrl(aged, { redirectUri, scopes: ['openid'], params: { max_age: '0' } })
  expect([sooner.request.maxAge, new URL(sooner.url).searchParams.getAll('max_age')]).toEqual([0, ['0']])
  for (const max_age of ['5m', '', '-1', '1.5', '1e3', ' 60', '0x10']) {
    for (const refused of [
      authorizationUrl(provider, { redirectUri, scopes: ['openid'], params: { max_age } }),
      authorizationUrl(adding({ max_age }), { redirectUri, scopes: ['openid'] }),
    ]) {
      const failure = await failureOf(refused)
      expect(failure).toMatchObject({
        code: 'FST_OAUTH2_OPTION_INVALID',
        message: expect.stringContaining('"max_age": must be a whole number of seconds'),
      })
    }
  }
})

test('without scopes there is neither a scope nor a nonce, and an age that nobody can vouch for is only asked for', async () => {
  const { provider, server } = await provided()
  const { url, request } = await authorizationUrl(provider, { redirectUri, maxAge: 60 })
  const { searchParams } = new URL(url)
  expect([searchParams.has('scope'), searchParams.has('nonce'), searchParams.get('max_age')]).toEqual([
    false,
    false,
    '60',
  ])
  expect(request).not.toHaveProperty('nonce')
  // Nobody asked for an ID token, so what calls itself one is not even read.
  server.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, id_token: 'nonsense' } })
  const tokens = await authorizationCodeGrant(provider, request, await answerTo(url))
  expect(server.isValidAccessToken(tokens.accessToken)).toBe(true)
  expect(tokens).not.toHaveProperty('claims')
  const classed = await authorizationUrl(provider, { redirectUri, acrValues: ['mfa'] })
  expect(await authorizationCodeGrant(provider, classed.request, await answerTo(classed.url))).toMatchObject({
    tokenType: 'Bearer',
  })
})

test('an answer in another name of the provider is taken, and one of somebody else is not', async () => {
  const { server } = await provided()
  const provider = new Provider({
    provider: { issuer: server.issuer, validIssuer: (issuer: string) => issuer === 'https://tenant.example' },
    clientId: server.clientId,
    clientSecret: server.clientSecret as string,
  })
  for (const [iss, taken] of [
    [['https://tenant.example'], true],
    [['https://evil.example'], false],
    [['https://tenant.example', 'https://evil.example'], false],
    [['https://evil.example', 'https://tenant.example'], false],
    [['https://tenant.example', 'https://tenant.example'], false],
    [[server.issuer, server.issuer], false],
    [[''], false],
  ] as const) {
    const { url, request } = await authorizationUrl(provider, { redirectUri })
    const back = await answerTo(url)
    back.searchParams.delete('iss')
    for (const one of iss) back.searchParams.append('iss', one)
    const outcome = authorizationCodeGrant(provider, request, back)
    if (taken) expect(await outcome).toMatchObject({ tokenType: 'Bearer' })
    else expect(await failureOf(outcome), iss.join()).toMatchObject({ code: 'FST_OAUTH2_STATE_INVALID' })
  }
})

test.each<[string, Answer, object]>([
  ['a refusal', { status: 400, body: { error: 'invalid_request' } }, { kind: 'refused', error: 'invalid_request' }],
  ['our registration', { status: 401, body: { error: 'invalid_client' } }, { kind: 'client' }],
  ['trouble', { status: 503, body: 'down' }, { kind: 'in_doubt', status: 503 }],
  ['no reference', { status: 201, body: { expires_in: 60 } }, { kind: 'unusable' }],
])('a request that is sent ahead and not taken says what failed: %s', async (_name, answer, expected) => {
  const { server } = await provided()
  server.parAnswer = () => answer
  const { issuer, clientId, clientSecret } = server
  const config = { provider: { issuer }, clientId, clientSecret: clientSecret as string }
  const provider = new Provider({ ...config, pushedAuthorizationRequests: true })
  const failure = await failureOf(authorizationUrl(provider, { redirectUri }))
  expect(failure).toMatchObject({ name: 'ProviderFailure', ...expected })
  expect(failure.message).toMatch(/^pushed authorization request failed: /)
})

test('FW-5 without a redirect URI there is no URL', async () => {
  const { provider } = await provided()
  for (const wrong of ['', '/callback', undefined as unknown as string]) {
    expect(await failureOf(authorizationUrl(provider, { redirectUri: wrong }))).toMatchObject({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: 'Option "redirectUri": must be an absolute URL.',
    })
  }
})

test('FW-4 FW-8 what one process began, another finishes from JSON: by URL, path and query, or query alone', async () => {
  const { server, make } = await provided()
  const forms: ((url: URL) => string | URL | URLSearchParams)[] = [
    (url) => url,
    (url) => url.href,
    (url) => `${url.pathname}${url.search}`,
    (url) => url.search,
    (url) => url.search.slice(1),
    (url) => `${url.href}#_=_`,
    (url) => url.searchParams,
  ]
  for (const form of forms) {
    const { url, request } = await authorizationUrl(make(), { redirectUri, scopes: ['openid', 'files.read'] })
    const remembered = JSON.stringify(request)
    const tokens = await authorizationCodeGrant(make(), JSON.parse(remembered), form(await answerTo(url)))
    expect(tokens).toMatchObject({
      tokenType: 'Bearer',
      scopes: ['openid', 'files.read'],
      claims: { sub: 'sub-alice' },
    })
    expect(server.isValidAccessToken(tokens.accessToken)).toBe(true)
  }
  const sent = server.requests.filter(({ endpoint }) => endpoint === 'token')
  expect(sent).toHaveLength(forms.length)
  expect(sent.every(({ params }) => params.code_verifier && !params.scope)).toBe(true)
})

test.each([
  'https://app.example.com',
  'https://app.example.com/callback?tenant=1&x=%20y',
  'com.example.app:/callback',
  'http://127.0.0.1:8080',
])('the token request repeats the redirect URI byte for byte: %s', async (uri) => {
  const { server, provider } = await provided()
  const { url, request } = await authorizationUrl(provider, { redirectUri: uri })
  await authorizationCodeGrant(provider, request, await answerTo(url))
  expect(server.requests.at(-1)?.params.redirect_uri).toBe(uri)
})

test('an answer to another request is refused before anything is sent', async () => {
  const { server, provider } = await provided()
  const { url, request } = await authorizationUrl(provider, { redirectUri, scopes: ['openid'] })
  const good = await answerTo(url)
  const changed = (change: (params: URLSearchParams) => void) => {
    const params = new URLSearchParams(good.searchParams)
    change(params)
    return params
  }
  for (const params of [
    changed((p) => p.set('state', 'another')),
    changed((p) => p.delete('state')),
    changed((p) => p.append('state', request.state)),
    changed((p) => p.append('code', 'another')),
    changed((p) => p.set('iss', 'https://evil.example')),
    changed((p) => p.delete('iss')),
    changed((p) => p.delete('code')),
    changed((p) => p.set('id_token', 'e30.e30.c2ln')),
    changed((p) => p.set('token', 'at')),
    changed((p) => p.set('response', 'e30.e30.c2ln')),
    changed((p) => {
      p.delete('state')
      p.set('error', 'access_denied')
    }),
    '',
  ]) {
    const failure = await failureOf(authorizationCodeGrant(provider, request, params))
    expect(failure, String(params)).toMatchObject({ code: 'FST_OAUTH2_STATE_INVALID' })
    for (const secret of [request.state, request.codeVerifier, good.searchParams.get('code')]) {
      expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(secret)
    }
  }
  expect(server.count('token')).toBe(0)
  await authorizationCodeGrant(provider, request, good)
})

test('a request that lost what protects it, or is of another provider, is refused before anything is sent', async () => {
  const { server, provider } = await provided()
  const { url, request } = await authorizationUrl(provider, { redirectUri })
  const back = await answerTo(url)
  const broken: [Partial<AuthorizationRequest>, string][] = [
    [{ state: '' }, 'has lost its "state".'],
    [{ codeVerifier: undefined as unknown as string }, 'has lost its "codeVerifier".'],
    [{ redirectUri: 5 as unknown as string }, 'has lost its "redirectUri".'],
    [{ issuer: 'https://other.example' }, `was made for another provider than ${server.issuer}.`],
  ]
  for (const [part, problem] of broken) {
    const failure = await failureOf(authorizationCodeGrant(provider, { ...request, ...part }, back))
    expect(failure).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID', message: `Option "request": ${problem}` })
  }
  expect(server.count('token')).toBe(0)
})

test.each([
  ['access_denied', { code: 'FST_OAUTH2_ACCESS_DENIED' }],
  ['consent_required', { code: 'FST_OAUTH2_ACCESS_DENIED' }],
  ['login_required', { code: 'FST_OAUTH2_ACCESS_DENIED' }],
  ['interaction_required', { code: 'FST_OAUTH2_ACCESS_DENIED' }],
  ['account_selection_required', { code: 'FST_OAUTH2_ACCESS_DENIED' }],
  ['temporarily_unavailable', { code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE', headers: { 'retry-after': '5' } }],
  ['server_error', { code: 'FST_OAUTH2_EXCHANGE_FAILED' }],
  ...['invalid_scope', 'invalid_request', 'unauthorized_client', 'unsupported_response_type'].map((error) => {
    const cause = { message: `the authorization endpoint answered ${error}` }
    return [error, { code: 'FST_OAUTH2_CLIENT_REJECTED', cause }] as const
  }),
  ['something_else', { code: 'FST_OAUTH2_AUTHORIZATION_FAILED' }],
] as const)('FW-9 a callback with error=%s is %j', async (error, expected) => {
  const { server, provider } = await provided()
  server.authorizeAnswer = ({ state }) => ({
    error,
    state: state as string,
    iss: server.issuer,
    error_description: '<b>',
  })
  const { url, request } = await authorizationUrl(provider, { redirectUri })
  const failure = await failureOf(authorizationCodeGrant(provider, request, await answerTo(url)))
  expect(failure).toMatchObject(expected)
  expect(failure.message).not.toContain('<b>')
  expect(server.count('token')).toBe(0)
})

test.each([
  [
    'a JSON error',
    { status: 400, body: { error: 'invalid_grant', error_description: 'x' } },
    { kind: 'invalid_grant' },
  ],
  ['a form-encoded error', { status: 400, body: 'error=invalid_grant' }, { kind: 'refused', status: 400 }],
  ['an object for an error', { status: 400, body: { error: { code: 1 } } }, { kind: 'refused', error: undefined }],
  ['text', { status: 200, body: 'hello' }, { kind: 'unusable' }],
  ['no access token', { status: 200, body: { token_type: 'Bearer' } }, { kind: 'unusable' }],
])('FW-9 FW-11 %s in exchange for the code', async (_name, answer, expected) => {
  const { server, provider } = await provided()
  server.tokenAnswer = () => answer
  const { url, request } = await authorizationUrl(provider, { redirectUri })
  const failure = await failureOf(authorizationCodeGrant(provider, request, await answerTo(url)))
  expect(failure).toMatchObject({ name: 'ProviderFailure', ...expected })
})

test('FW-10 with client_secret_basic the secret is in the header and nowhere else', async () => {
  const { server } = await provided()
  const provider = new Provider({
    provider: { issuer: server.issuer },
    clientId: server.clientId,
    clientSecret: server.clientSecret as string,
    clientAuthentication: 'client_secret_basic',
  })
  const { url, request } = await authorizationUrl(provider, { redirectUri })
  await authorizationCodeGrant(provider, request, await answerTo(url))
  const { headers, body } = server.requests.at(-1) as (typeof server.requests)[number]
  expect(headers.authorization).toMatch(/^Basic /)
  expect(body).not.toContain(server.clientSecret)
})

test('FW-11 an answer without expires_in makes tokens without an expiry', async () => {
  const { server, provider } = await provided()
  server.tokenAnswer = async (_params, defaults) => {
    const { expires_in: _, ...body } = (await defaults()).body
    return { body }
  }
  const { url, request } = await authorizationUrl(provider, { redirectUri })
  expect(await authorizationCodeGrant(provider, request, await answerTo(url))).not.toHaveProperty('expiresAt')
})

test('FW-8 a bare code from a popup: redirect_uri is postmessage, and the ID token that comes along is verified', async () => {
  const { server, provider } = await provided()
  const begin = new URL(`${server.issuer}/authorize`)
  const codeVerifier = 'v'.repeat(43)
  begin.search = new URLSearchParams({
    client_id: server.clientId,
    response_type: 'code',
    redirect_uri: 'https://placeholder.example',
    scope: 'openid email',
    code_challenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString()
  let sent: Record<string, string> = {}
  server.tokenAnswer = async (params, defaults) => {
    sent = { ...params }
    params.redirect_uri = 'https://placeholder.example'
    return defaults()
  }
  const code = (await answerTo(begin.href)).searchParams.get('code') as string
  const tokens = await authorizationCodeGrant(provider, { code, codeVerifier })
  expect(tokens).toMatchObject({ claims: { sub: 'sub-alice' }, scopes: ['openid', 'email'] })
  expect(sent).toMatchObject({ redirect_uri: 'postmessage', code, code_verifier: codeVerifier })

  server.signIdToken = async () => 'e30.e30.c2ln'
  const again = (await answerTo(begin.href)).searchParams.get('code') as string
  expect(await failureOf(authorizationCodeGrant(provider, { code: again, codeVerifier }))).toMatchObject({
    kind: 'unusable',
  })
})

test('what is missing or of another kind is refused by name', async () => {
  const { server, provider } = await provided()
  const { request } = await authorizationUrl(provider, { redirectUri })
  const refused = (option: string) => ({
    code: 'FST_OAUTH2_OPTION_INVALID',
    message: expect.stringContaining(`"${option}"`),
  })
  const none = null as never
  expect(await failureOf(authorizationCodeGrant(provider, none))).toMatchObject(refused('request'))
  expect(await failureOf(authorizationCodeGrant(provider, 'code' as never))).toMatchObject(refused('request'))
  expect(await failureOf(authorizationCodeGrant(provider, request, none))).toMatchObject(refused('callback'))
  const scopes = 'openid email' as unknown as string[]
  expect((await authorizationUrl(provider, { redirectUri, scopes })).request.scopes).toEqual(['openid', 'email'])
  const made = (config: object) => () => new Provider(config as never)
  expect(made({ clientId: 'x' })).toThrow(expect.objectContaining(refused('provider')))
  expect(made({ provider: { issuer: server.issuer } })).toThrow(expect.objectContaining(refused('clientId')))
  server.metadata = ({ authorization_endpoint: _, ...metadata }) => metadata
  const lost = new Provider({ provider: { issuer: server.issuer }, clientId: 'x' })
  expect(await failureOf(authorizationUrl(lost, { redirectUri }))).toMatchObject({
    code: 'FST_OAUTH2_PROVIDER_METADATA',
    message: expect.stringContaining('authorization_endpoint'),
  })
})

test('a redirect URI is sent exactly as it was used, by a server that reads JSON too', async () => {
  const { server, make } = await provided()
  const provider = new Provider({
    provider: { issuer: server.issuer, requestBody: 'json' },
    clientId: server.clientId,
    clientSecret: server.clientSecret as string,
  })
  for (const exact of ['https://app.example.com/cb?tenant=1', 'https://app.example.com']) {
    for (const one of [provider, make()]) {
      const { url, request } = await authorizationUrl(one, { redirectUri: exact })
      server.tokenAnswer = () => ({ body: { access_token: 'at', token_type: 'Bearer' } })
      await authorizationCodeGrant(one, request, await answerTo(url))
      const { body, params } = server.requests.findLast(({ endpoint }) => endpoint === 'token') ?? expect.fail()
      expect(one === provider ? JSON.parse(body) : params).toMatchObject({
        redirect_uri: exact,
        code: expect.any(String),
      })
    }
  }
})

test('a bare code with a nonce needs an ID token that has it', async () => {
  const { server, provider } = await provided()
  const idToken = (nonce: string) =>
    server.sign({ iss: server.issuer, aud: server.clientId, sub: 's', iat: now(), exp: now() + 60, nonce })
  const answers: (() => Promise<Record<string, unknown>>)[] = [
    async () => ({}),
    async () => ({ id_token: await idToken('another') }),
    async () => ({ id_token: await idToken('mine') }),
  ]
  const outcomes = []
  for (const answer of answers) {
    const extra = await answer()
    server.tokenAnswer = () => ({ body: { access_token: 'at', token_type: 'Bearer', ...extra } })
    outcomes.push(
      await authorizationCodeGrant(provider, { code: 'c', nonce: 'mine', redirectUri: '' }).then(
        ({ claims }) => claims?.nonce,
        ({ kind }) => kind,
      ),
    )
  }
  expect(outcomes).toEqual(['unusable', 'unusable', 'mine'])
  expect(server.requests.findLast(({ endpoint }) => endpoint === 'token')?.allParams.get('redirect_uri')).toBe('')
})

test.each(['', undefined as unknown as string])('a bare code that is none is refused: %j', async (code) => {
  const { provider } = await provided()
  expect(await failureOf(authorizationCodeGrant(provider, { code }))).toMatchObject({
    code: 'FST_OAUTH2_OPTION_INVALID',
    message: 'Option "code": must be a non-empty string.',
  })
})

const now = () => Math.floor(Date.now() / 1000)

test('a provider that is logged shows neither its secret nor anything else', async () => {
  const { provider, server } = await provided()
  for (const text of [inspect({ provider }, { depth: 9, showHidden: true }), JSON.stringify({ provider })]) {
    expect(text).toContain(server.issuer)
    expect(text).not.toContain('canary')
  }
})

test('a class of authentication that was asked for is sent, and has to be in the ID token', async () => {
  const { provider, server } = await provided()
  const ask = () =>
    authorizationUrl(provider, { redirectUri, scopes: ['openid'], acrValues: ['phr', 'mfa'], maxAge: 300 })
  const { url, request } = await ask()
  expect(Object.fromEntries(new URL(url).searchParams)).toMatchObject({ acr_values: 'phr mfa', max_age: '300' })
  expect(request).toMatchObject({ acrValues: ['phr', 'mfa'], maxAge: 300 })
  for (const [acr, code] of [
    ['mfa', undefined],
    ['pwd', 'FST_OAUTH2_STEP_UP_FAILED'],
    [undefined, 'FST_OAUTH2_STEP_UP_FAILED'],
  ] as const) {
    const begun = await ask()
    server.idTokenClaims = (claims) => ({ ...claims, auth_time: claims.iat, ...(acr && { acr }) })
    const outcome = authorizationCodeGrant(provider, begun.request, await answerTo(begun.url))
    if (code === undefined) expect((await outcome).claims).toMatchObject({ acr })
    else expect(await failureOf(outcome)).toMatchObject({ code })
  }
})
