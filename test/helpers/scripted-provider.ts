import { createHash, randomBytes } from 'node:crypto'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { decodeJwt, type JWK, type JWTPayload, SignJWT } from 'jose'
import { Gate, type Hold } from './hold.js'
import { type Answer, sendAnswer } from './scripted-answer.js'
import { nextSigningKey } from './signing-keys.js'

export type { Answer, Hold }

export type Endpoint =
  | 'discovery'
  | 'jwks'
  | 'authorize'
  | 'token'
  | 'revoke'
  | 'introspect'
  | 'par'
  | 'device'
  | 'userinfo'
  | 'api'
  | 'unknown'

/** Query and form fields; of repeated ones the last. */
export type Params = Record<string, string>

export interface RecordedRequest {
  readonly endpoint: Endpoint
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly params: Params
  /** The same with repeated fields (`resource`, for instance). */
  readonly allParams: URLSearchParams
  readonly body: string
}

/** What the provider answers by itself: always JSON. */
export interface DefaultAnswer {
  status?: number
  headers?: Record<string, string>
  body: Record<string, unknown>
}

/**
 * Answers for an endpoint; undefined leaves it to the provider. Calling `defaults()` processes the request (burns the
 * code, rotates the refresh token) and gives what would be answered: call it, and `{ destroy: true }` is an answer that
 * got lost; don't, and it is a request that never had an effect.
 */
export type Script = (
  params: Params,
  defaults: () => Promise<DefaultAnswer>,
  request: RecordedRequest,
) => Answer | undefined | Promise<Answer | undefined>

/** The query that goes back to the redirect URI, exactly; undefined leaves it to the provider. */
export type AuthorizeScript = (
  params: Params,
  /** Issues a code and gives the usual answer. */
  defaults: () => Record<string, string>,
) => Record<string, string> | undefined | Promise<Record<string, string> | undefined>

/**
 * `always`: every code brings a refresh token, which stays the same. `first`: only the first consent of a person does,
 * or one with `prompt=consent`. `rotate`: every refresh replaces it; presenting an old one kills the whole grant.
 */
export type RefreshTokenPolicy = 'always' | 'first' | 'never' | 'rotate'

export interface ScriptedProviderOptions {
  clientId?: string
  /** null: a public client. */
  clientSecret?: string | null
  /** What it signs with. Default `RS256`. */
  algorithm?: string
  /** If given, others are refused. */
  redirectUris?: string[]
  /** Paths of another provider's endpoints, for presets that don't use discovery. */
  paths?: Partial<Record<Exclude<Endpoint, 'unknown'>, string>>
  clock?: () => number
}

interface Grant {
  readonly user: string
  readonly scopes: string[]
  revoked: boolean
}

interface Code {
  readonly grant: Grant
  readonly params: Params
  readonly expiresAt: number
  used: boolean
}

interface AccessToken {
  readonly grant: Grant
  readonly scopes: string[]
  expiresAt: number
}

interface RefreshToken {
  readonly grant: Grant
  replaced: boolean
}

const codeLifetime = 60_000
const secretParams = [
  'state',
  'nonce',
  'code',
  'code_verifier',
  'refresh_token',
  'token',
  'client_secret',
  'client_assertion',
  'assertion',
  'device_code',
  'subject_token',
  'actor_token',
]

/** Starts an OpenID provider that does what the test says, for answers that a well-behaved server never gives. */
export async function startScriptedProvider(options: ScriptedProviderOptions = {}): Promise<ScriptedProvider> {
  const provider = new ScriptedProvider(options)
  await provider.start()
  return provider
}

export class ScriptedProvider {
  issuer = ''
  readonly clientId: string
  readonly clientSecret: string | null
  readonly algorithm: string
  readonly paths: Record<Exclude<Endpoint, 'unknown'>, string>

  /** Who is at the browser. `alice` has the sub `sub-alice` and the address `alice@example.com`. */
  user = 'alice'
  /** What the person ticks. */
  grant: (requestedScopes: string[], params: Params) => string[] = (requested) => requested
  refreshTokenPolicy: RefreshTokenPolicy = 'always'
  /** s */
  expiresIn = 3600
  idTokenClaims: (claims: JWTPayload, params: Params) => JWTPayload = (claims) => claims
  /** Replaces the signature; `sign()` is the usual one. */
  signIdToken: ((claims: JWTPayload) => Promise<string>) | undefined
  metadata: (metadata: Record<string, unknown>) => Record<string, unknown> = (metadata) => metadata

  authorizeAnswer: AuthorizeScript | undefined
  tokenAnswer: Script | undefined
  revokeAnswer: Script | undefined
  /** There is none unless it is scripted; the same for `parAnswer` and `deviceAnswer`. */
  introspectAnswer: Script | undefined
  parAnswer: Script | undefined
  deviceAnswer: Script | undefined
  userinfoAnswer: Script | undefined
  apiAnswer: Script | undefined
  discoveryAnswer: Script | undefined
  jwksAnswer: Script | undefined

  /** Everything that was asked, in the order of arrival. */
  readonly requests: RecordedRequest[] = []

  readonly #options: ScriptedProviderOptions
  readonly #server: Server
  readonly #now: () => number
  readonly #codes = new Map<string, Code>()
  readonly #pushed = new Map<string, Params>()
  readonly #accessTokens = new Map<string, AccessToken>()
  readonly #refreshTokens = new Map<string, RefreshToken>()
  readonly #consented = new Set<string>()
  readonly #secrets = new Set<string>()
  readonly #keys: { kid: string; privateKey: CryptoKey; jwk: JWK }[] = []
  #gates: { endpoint: Endpoint; when: 'before' | 'after'; gate: Gate }[] = []

  constructor(options: ScriptedProviderOptions) {
    this.#options = options
    this.#now = options.clock ?? Date.now
    this.clientId = options.clientId ?? 'test-client'
    this.clientSecret = options.clientSecret === undefined ? canary('secret') : options.clientSecret
    this.algorithm = options.algorithm ?? 'RS256'
    this.paths = {
      discovery: '/.well-known/openid-configuration',
      jwks: '/jwks',
      authorize: '/authorize',
      token: '/token',
      revoke: '/revoke',
      introspect: '/introspect',
      par: '/par',
      device: '/device',
      userinfo: '/userinfo',
      api: '/api/',
      ...options.paths,
    }
    this.#remember(this.clientSecret)
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error) => {
        if (response.headersSent || response.destroyed) return
        // A mistake in the test's script: shown as what it is, instead of as a request that never ends.
        response.writeHead(500, { 'content-type': 'text/plain' }).end(`scripted provider: ${error?.stack ?? error}`)
      })
    })
  }

  async start(): Promise<void> {
    await this.rotateKeys()
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const { port } = this.#server.address() as { port: number }
    this.issuer = `http://localhost:${port}`
  }

  async close(): Promise<void> {
    for (const { gate } of this.#gates) gate.release()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /** How often an endpoint was asked, or the token endpoint for a grant type. */
  count(endpoint: Endpoint, grantType?: string): number {
    return this.requests.filter(
      (request) => request.endpoint === endpoint && (!grantType || request.params.grant_type === grantType),
    ).length
  }

  /**
   * Holds the answers of an endpoint. By default the request has had its effect and only its answer waits; with
   * `before`, the provider has not looked at it yet.
   */
  hold(endpoint: Endpoint, when: 'before' | 'after' = 'after'): Hold {
    const gate = new Gate()
    this.#gates = [...this.#gates.filter((held) => !held.gate.isOpen), { endpoint, when, gate }]
    return gate
  }

  /** Every secret issued or received so far: what must not show up in logs, pages and errors. */
  secrets(): string[] {
    return [...this.#secrets]
  }

  /** The person withdraws the access in the provider's account settings: every token of that person is dead. */
  withdraw(user = this.user): void {
    for (const { grant } of [...this.#accessTokens.values(), ...this.#refreshTokens.values()]) {
      if (grant.user === user) grant.revoked = true
    }
    this.#consented.delete(user)
  }

  /** Access tokens stop working before their time; refresh tokens keep on. */
  expireAccessTokens(): void {
    for (const token of this.#accessTokens.values()) token.expiresAt = 0
  }

  isValidAccessToken(token: string): boolean {
    return this.#valid(token) !== undefined
  }

  /** Signs with a new key from now on; the old ones stay published. */
  async rotateKeys(): Promise<void> {
    const { privateKey, publicJwk } = await nextSigningKey(this.algorithm)
    const kid = randomBytes(8).toString('hex')
    const jwk = { ...publicJwk, kid, alg: this.algorithm, use: 'sig' }
    this.#keys.unshift({ kid, privateKey, jwk })
  }

  /** A JWT with these claims, signed as the provider's ID tokens are. */
  async sign(claims: JWTPayload, header: Record<string, string> = {}): Promise<string> {
    const { kid, privateKey } = this.#keys[0]!
    return new SignJWT(claims).setProtectedHeader({ alg: this.algorithm, kid, ...header }).sign(privateKey)
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await this.#record(incoming)
    const { endpoint } = request
    await this.#held(endpoint, 'before')
    const answer = await this.#answer(request)
    this.#rememberTokens(endpoint, answer.body)
    await this.#held(endpoint, 'after')
    await sendAnswer(response, answer)
  }

  async #record(incoming: IncomingMessage): Promise<RecordedRequest> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const body = Buffer.concat(chunks).toString()
    const target = incoming.url ?? '/'
    const { pathname, searchParams: allParams } = new URL(target, 'http://localhost')
    if (incoming.headers['content-type']?.startsWith('application/x-www-form-urlencoded')) {
      for (const [name, value] of new URLSearchParams(body)) allParams.append(name, value)
    }
    const params = Object.fromEntries(allParams)
    const endpoint = this.#endpointOf(pathname)
    const request = {
      endpoint,
      method: incoming.method ?? '',
      url: target,
      headers: incoming.headers,
      params,
      allParams,
      body,
    }
    this.requests.push(request)
    // An API's parameters are the app's business, whatever they are called.
    if (endpoint !== 'api') for (const name of secretParams) this.#remember(params[name])
    return request
  }

  #endpointOf(pathname: string): Endpoint {
    for (const [endpoint, path] of Object.entries(this.paths)) {
      if (path.endsWith('/') ? pathname.startsWith(path) : pathname === path) return endpoint as Endpoint
    }
    return 'unknown'
  }

  async #answer(request: RecordedRequest): Promise<Answer> {
    const { endpoint, params } = request
    if (endpoint === 'authorize') return this.#authorize(params)
    const { discoveryAnswer, jwksAnswer, tokenAnswer, revokeAnswer, userinfoAnswer, apiAnswer } = this
    const { introspectAnswer, parAnswer, deviceAnswer } = this
    const script = {
      discovery: discoveryAnswer,
      jwks: jwksAnswer,
      token: tokenAnswer,
      revoke: revokeAnswer,
      introspect: introspectAnswer,
      par: parAnswer,
      device: deviceAnswer,
      userinfo: userinfoAnswer,
      api: apiAnswer,
      unknown: undefined,
    }[endpoint]
    let processed: Promise<DefaultAnswer> | undefined
    const defaults = () => {
      processed ??= this.#process(endpoint, request)
      return processed
    }
    return (await script?.(params, defaults, request)) ?? defaults()
  }

  async #process(endpoint: Endpoint, request: RecordedRequest): Promise<DefaultAnswer> {
    switch (endpoint) {
      case 'discovery':
        return { body: this.metadata(this.#defaultMetadata()) }
      case 'jwks':
        return { body: { keys: this.#keys.map(({ jwk }) => jwk) } }
      case 'token':
        return this.#token(request)
      case 'revoke':
        return this.#revoke(request)
      case 'par':
        return this.#push(request)
      case 'userinfo':
      case 'api':
        return this.#protected(request)
      default:
        return { status: 404, body: { error: 'not_found' } }
    }
  }

  #defaultMetadata(): Record<string, unknown> {
    const at = (path: string) => this.issuer + path
    return {
      issuer: this.issuer,
      authorization_endpoint: at(this.paths.authorize),
      token_endpoint: at(this.paths.token),
      jwks_uri: at(this.paths.jwks),
      revocation_endpoint: at(this.paths.revoke),
      userinfo_endpoint: at(this.paths.userinfo),
      ...(this.introspectAnswer && { introspection_endpoint: at(this.paths.introspect) }),
      ...(this.parAnswer && { pushed_authorization_request_endpoint: at(this.paths.par) }),
      ...(this.deviceAnswer && { device_authorization_endpoint: at(this.paths.device) }),
      response_types_supported: ['code'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [this.algorithm],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
      authorization_response_iss_parameter_supported: true,
    }
  }

  /** RFC 9126: good for one authorization request. */
  #push(request: RecordedRequest): DefaultAnswer {
    if (!this.#isClient(request, 'required')) return { status: 401, body: { error: 'invalid_client' } }
    const request_uri = `urn:ietf:params:oauth:request_uri:${randomBytes(16).toString('hex')}`
    this.#pushed.set(request_uri, request.params)
    return { status: 201, body: { request_uri, expires_in: 60 } }
  }

  async #authorize(given: Params): Promise<Answer> {
    const { client_id, request_uri } = given
    const pushed = request_uri === undefined ? given : this.#pushed.get(request_uri)
    this.#pushed.delete(request_uri ?? '')
    if (!pushed) return { status: 400, body: 'unknown or used request_uri' }
    // Signatures are for a stricter server to check.
    const params = (pushed.request === undefined ? pushed : decodeJwt(pushed.request)) as Params
    const { redirect_uri, response_mode = 'query' } = params
    const known = redirect_uri && (this.#options.redirectUris?.includes(redirect_uri) ?? true)
    if (client_id !== this.clientId || !known) return { status: 400, body: 'unknown client or redirect URI' }
    const defaults = () => this.#authorizeDefaults(params)
    const answer = (await this.authorizeAnswer?.(params, defaults)) ?? defaults()
    this.#remember(answer.code, answer.state)
    const signed = response_mode.endsWith('jwt') && answer.response === undefined
    const query = signed ? { response: await this.signAnswer(answer) } : answer
    this.#remember(query.response)
    if (response_mode.startsWith('form_post')) {
      return { headers: { 'content-type': 'text/html' }, body: form(redirect_uri, query) }
    }
    const target = new URL(redirect_uri)
    for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value)
    return { status: 302, headers: { location: target.href } }
  }

  /** JARM: an answer as a JWT, with other claims or another header where a test wants them. */
  signAnswer(
    answer: Record<string, string>,
    claims: Record<string, unknown> = {},
    header: Record<string, string> = {},
  ): Promise<string> {
    const exp = Math.floor(this.#now() / 1000) + 600
    return this.sign({ ...answer, iss: this.issuer, aud: this.clientId, exp, ...claims }, header)
  }

  #authorizeDefaults(params: Params): Record<string, string> {
    const { state } = params
    const back = (answer: Record<string, string>) => ({ ...answer, ...(state && { state }), iss: this.issuer })
    if (params.response_type !== 'code') return back({ error: 'unsupported_response_type' })
    if (!params.code_challenge || params.code_challenge_method !== 'S256') return back({ error: 'invalid_request' })
    const requested = (params.scope ?? '').split(' ').filter(Boolean)
    const scopes = [...new Set(this.grant(requested, params))]
    const code = canary('code')
    this.#codes.set(code, {
      grant: { user: this.user, scopes, revoked: false },
      params,
      expiresAt: this.#now() + codeLifetime,
      used: false,
    })
    return back({ code })
  }

  async #token(request: RecordedRequest): Promise<DefaultAnswer> {
    if (!this.#isClient(request, 'required')) {
      // The challenge is for those who tried the header.
      const headers = request.headers.authorization ? { 'www-authenticate': 'Basic realm="test"' } : {}
      return { status: 401, headers, body: { error: 'invalid_client' } }
    }
    const { params } = request
    if (params.grant_type === 'authorization_code') return this.#exchange(params)
    if (params.grant_type === 'refresh_token') return this.#refresh(params)
    return refusal('unsupported_grant_type')
  }

  async #exchange(params: Params): Promise<DefaultAnswer> {
    const code = this.#codes.get(params.code ?? '')
    if (!code || code.expiresAt <= this.#now()) return refusal('invalid_grant', 'unknown or expired code')
    // A code that comes twice was stolen, from whichever of the two: what it brought is worth nothing any more.
    if (code.used) code.grant.revoked = true
    if (code.used) return refusal('invalid_grant', 'code used before')
    code.used = true
    if (params.redirect_uri !== code.params.redirect_uri) return refusal('invalid_grant', 'another redirect URI')
    const challenge = createHash('sha256')
      .update(params.code_verifier ?? '')
      .digest('base64url')
    if (challenge !== code.params.code_challenge) return refusal('invalid_grant', 'wrong code verifier')

    const { grant } = code
    const consentShown = !this.#consented.has(grant.user) || code.params.prompt?.split(' ').includes('consent')
    this.#consented.add(grant.user)
    const policy = this.refreshTokenPolicy
    const lasting = policy === 'always' || policy === 'rotate' || (policy === 'first' && consentShown)
    return this.#issue(grant, grant.scopes, lasting, code.params)
  }

  async #refresh(params: Params): Promise<DefaultAnswer> {
    const token = this.#refreshTokens.get(params.refresh_token ?? '')
    if (!token) return refusal('invalid_grant', 'unknown refresh token')
    const { grant } = token
    if (token.replaced) grant.revoked = true
    if (grant.revoked) return refusal('invalid_grant', 'token has been revoked')
    const scopes = params.scope?.split(' ').filter(Boolean) ?? grant.scopes
    if (!scopes.every((scope) => grant.scopes.includes(scope))) return refusal('invalid_scope')
    const rotate = this.refreshTokenPolicy === 'rotate'
    token.replaced = rotate
    return this.#issue(grant, scopes, rotate, {})
  }

  async #issue(
    grant: Grant,
    scopes: string[],
    withRefreshToken: boolean | undefined,
    params: Params,
  ): Promise<DefaultAnswer> {
    const accessToken = canary('at')
    const expiresAt = this.#now() + this.expiresIn * 1000
    this.#accessTokens.set(accessToken, { grant, scopes, expiresAt })
    const body: Record<string, unknown> = {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: this.expiresIn,
      scope: scopes.join(' '),
    }
    if (withRefreshToken) {
      const refreshToken = canary('rt')
      this.#refreshTokens.set(refreshToken, { grant, replaced: false })
      body.refresh_token = refreshToken
    }
    if (scopes.includes('openid')) body.id_token = await this.#idToken(grant.user, params)
    return { body }
  }

  async #idToken(user: string, params: Params): Promise<string> {
    const now = Math.floor(this.#now() / 1000)
    const claims: JWTPayload = {
      iss: this.issuer,
      aud: this.clientId,
      iat: now,
      exp: now + 3600,
      ...userClaims(user),
      ...(params.nonce && { nonce: params.nonce }),
    }
    const final = this.idTokenClaims(claims, params)
    return (await this.signIdToken?.(final)) ?? this.sign(final)
  }

  #revoke(request: RecordedRequest): DefaultAnswer {
    // Some providers want no client authentication here; a wrong one is a mistake with all of them.
    if (!this.#isClient(request, 'optional')) return { status: 401, body: { error: 'invalid_client' } }
    const token = request.params.token ?? ''
    const grant = (this.#refreshTokens.get(token) ?? this.#accessTokens.get(token))?.grant
    if (grant) {
      grant.revoked = true
      this.#consented.delete(grant.user)
    }
    return { body: {} }
  }

  #protected(request: RecordedRequest): DefaultAnswer {
    const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (!bearer) return { status: 401, headers: { 'www-authenticate': 'Bearer' }, body: { error: 'unauthorized' } }
    const token = this.#valid(bearer)
    if (!token) {
      const headers = { 'www-authenticate': 'Bearer error="invalid_token"' }
      return { status: 401, headers, body: { error: 'invalid_token' } }
    }
    const claims = userClaims(token.grant.user)
    if (request.endpoint === 'userinfo') return { body: claims }
    return { body: { ok: true, path: request.url, sub: claims.sub, scopes: token.scopes } }
  }

  #valid(accessToken: string): AccessToken | undefined {
    const token = this.#accessTokens.get(accessToken)
    return token && !token.grant.revoked && token.expiresAt > this.#now() ? token : undefined
  }

  #isClient({ headers, params }: RecordedRequest, credentials: 'required' | 'optional'): boolean {
    const basic = /^Basic (.+)$/i.exec(headers.authorization ?? '')?.[1]
    if (basic) {
      const raw = Buffer.from(basic, 'base64').toString()
      // RFC 6749 wants both parts form-encoded; raw is what many clients send and most providers take.
      return [raw, raw.split(':').map(formDecoded).join(':')].includes(`${this.clientId}:${this.clientSecret ?? ''}`)
    }
    if (params.client_id === undefined && credentials === 'optional') return true
    if (params.client_id !== this.clientId) return false
    if (params.client_secret === undefined && credentials === 'optional') return true
    return this.clientSecret === null ? params.client_secret === undefined : params.client_secret === this.clientSecret
  }

  async #held(endpoint: Endpoint, when: 'before' | 'after'): Promise<void> {
    const gates = this.#gates.filter((held) => held.endpoint === endpoint && held.when === when)
    await Promise.all(gates.map(({ gate }) => gate.pass()))
  }

  #remember(...values: unknown[]): void {
    for (const value of values) if (typeof value === 'string' && value) this.#secrets.add(value)
  }

  /** Also those that the test's script made up. */
  #rememberTokens(endpoint: Endpoint, body: Answer['body']): void {
    if (endpoint !== 'token' || typeof body !== 'object' || Buffer.isBuffer(body)) return
    const { access_token, refresh_token, id_token } = body as Record<string, unknown>
    this.#remember(access_token, refresh_token, id_token)
  }
}

/** A prefix to recognise it by wherever it turns up. */
function canary(kind: 'at' | 'rt' | 'code' | 'secret'): string {
  return `${kind}-canary-${randomBytes(16).toString('hex')}`
}

/** What a provider has a browser post. */
function form(action: string, fields: Record<string, string>): string {
  const inputs = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
  return `<!doctype html><form method="post" action="${action}">${inputs.join('')}<button>Continue</button></form>`
}

function userClaims(user: string) {
  return { sub: `sub-${user}`, email: `${user}@example.com`, email_verified: true, name: user }
}

function refusal(error: string, description?: string): DefaultAnswer {
  return { status: 400, body: { error, ...(description && { error_description: description }) } }
}

function formDecoded(value: string): string {
  return new URLSearchParams(`v=${value.replaceAll('&', '%26')}`).get('v') ?? ''
}
