/** A provider that answers as a real one was recorded to: its paths, its shapes, its errors. Everything else is a 404. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { onTestFinished } from 'vitest'
import type { FailureKind, RevocationOutcome } from '../../src/flows/index.js'
import type { ProviderOptions } from '../../src/provider/preset.js'
import { type Answer, sendAnswer } from './scripted-answer.js'

/** One request to the provider. */
export interface Heard {
  /** Method and path. */
  readonly at: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, unknown>>
  /** Form fields or JSON members. */
  readonly body: Readonly<Record<string, unknown>>
  readonly bearer: string | undefined
}

/** What one answer of the token endpoint is about. */
export interface Issued {
  readonly origin: string
  readonly accessToken: string
  readonly refreshToken: string
  /** As the provider grants them at this point. */
  readonly scopes: readonly string[]
  readonly idToken: string
}

/** A provider's habits, by example. */
export interface Recording {
  readonly name: string
  readonly preset: (issuer: string) => ProviderOptions
  /** Of the issuer, under the origin. */
  readonly path?: string
  /** The option `scopes`, and a scope that a page needs besides. */
  readonly scopes?: readonly string[]
  readonly more?: string
  readonly authorize: string
  readonly token: string
  /** The document that discovery finds, with the path of its keys. */
  readonly discovery?: { readonly at: string; readonly jwks: string; document(origin: string): object }
  /** How the client has to authenticate. */
  readonly authentication?: 'post' | 'basic'
  readonly body?: 'form' | 'json'
  /** Parameters of the first and the second authorization request; null where one must not be there. */
  readonly asked: readonly Readonly<Record<string, string | null>>[]
  /** What comes back besides code and state. */
  readonly back?: (origin: string) => Readonly<Record<string, string>>
  /** What the first and the second authorization grant. */
  readonly granted: readonly (readonly string[])[]
  readonly idToken?: (origin: string) => JWTPayload
  readonly tokens: (issued: Issued) => object
  /** Without it there are no refresh tokens. */
  readonly refreshed?: (issued: Issued) => object
  /** Identity and revocation, by method and path. */
  readonly others?: Readonly<Record<string, (heard: Heard, provider: RecordedProvider) => Answer>>
  /** Who it is, as the app sees it. */
  readonly user: string
  readonly email?: string
  readonly claims?: Readonly<Record<string, unknown>>
  /** Those that a refresh changes. */
  readonly claimsAfterRefresh?: Readonly<Record<string, unknown>>
  /** What the app sees as granted. */
  readonly seen?: readonly (readonly string[])[]
  readonly revoked: RevocationOutcome
  /** Refusals of the token endpoint, and what they mean. */
  readonly errors: readonly (readonly [answer: Answer, kind: FailureKind])[]
}

const keys = generateKeyPair('RS256')

export async function startRecorded(recording: Recording): Promise<RecordedProvider> {
  const provider = new RecordedProvider(recording)
  const server = createServer((request, response) => {
    hear(request)
      .then((heard) => provider.answer(heard))
      .then(
        (answer) => sendAnswer(response, answer),
        (error) => response.writeHead(500).end(String(error)),
      )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  provider.origin = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return provider
}

export class RecordedProvider {
  origin = ''
  readonly clientId = 'client-1'
  readonly clientSecret = 'secret-1.of_the-client'
  readonly heard: Heard[] = []
  /** Answers the token endpoint in the place of what was recorded. */
  refusal: Answer | undefined
  /** Access tokens that the API takes. */
  readonly live = new Set<string>()
  refreshToken = ''
  readonly #recording: Recording
  #asked = new URLSearchParams()
  #authorizations = 0
  #issued = 0

  constructor(recording: Recording) {
    this.#recording = recording
  }

  get issuer(): string {
    return this.origin + (this.#recording.path ?? '')
  }

  requests(at: string): Heard[] {
    return this.heard.filter((heard) => heard.at === at)
  }

  async answer(heard: Heard): Promise<Answer> {
    this.heard.push(heard)
    const { authorize, token, discovery, others = {} } = this.#recording
    const other = others[heard.at]
    if (other) return other(heard, this)
    switch (heard.at) {
      case `GET ${authorize}`:
        return this.#authorize(heard.query)
      case `POST ${token}`:
        return this.refusal ?? { body: await this.#token(heard) }
      case `GET ${discovery?.at}`:
        return { body: discovery?.document(this.origin) as object }
      case `GET ${discovery?.jwks}`:
        return { body: { keys: [{ ...(await exportJWK((await keys).publicKey)), kid: 'key-1', use: 'sig' }] } }
      case 'GET /things':
        return this.live.has(heard.bearer ?? '') ? { body: { things: [] } } : { status: 401, body: {} }
      default:
        return { status: 404, body: { message: 'Not Found' } }
    }
  }

  #authorize(query: URLSearchParams): Answer {
    this.#asked = query
    this.#authorizations += 1
    const back = new URL(query.get('redirect_uri') ?? '')
    const params = { code: `code-${this.#authorizations}`, state: query.get('state') ?? '' }
    for (const [name, value] of Object.entries({ ...params, ...this.#recording.back?.(this.origin) })) {
      back.searchParams.set(name, value)
    }
    return { status: 302, headers: { location: back.href } }
  }

  async #token({ headers, body }: Heard): Promise<object> {
    const { authentication = 'post', body: kind = 'form', refreshed, granted } = this.#recording
    const { clientId, clientSecret } = this
    const basic = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
    const posted = body.client_id === clientId && body.client_secret === clientSecret
    const known = authentication === 'basic' ? headers.authorization === basic : posted
    const type = String(headers['content-type'])
    const understood = type.startsWith(kind === 'json' ? 'application/json' : 'application/x-www-form-urlencoded')
    if (!known || !understood) throw new Error(`not how clients are to ask: ${type}`)
    const scopes = granted[Math.min(this.#authorizations, granted.length) - 1] ?? []
    if (body.grant_type === 'refresh_token') {
      if (!refreshed || body.refresh_token !== this.refreshToken) throw new Error('not the refresh token')
      return refreshed(await this.#issue(scopes))
    }
    const complete = body.code === `code-${this.#authorizations}` && body.redirect_uri && body.code_verifier
    if (body.grant_type !== 'authorization_code' || !complete) throw new Error('not the code')
    return this.#recording.tokens(await this.#issue(scopes))
  }

  async #issue(scopes: readonly string[]): Promise<Issued> {
    this.#issued += 1
    const accessToken = `at-${this.#issued}`
    this.live.clear()
    this.live.add(accessToken)
    this.refreshToken = `rt-${this.#issued}`
    const claims = this.#recording.idToken?.(this.origin)
    // A hash that was recorded is one of a token that was, too.
    const at_hash = createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url')
    const named = claims && 'at_hash' in claims ? { at_hash } : {}
    const idToken = claims ? await this.sign({ nonce: this.#asked.get('nonce'), ...claims, ...named }) : ''
    return { origin: this.origin, accessToken, refreshToken: this.refreshToken, scopes, idToken }
  }

  async sign(claims: JWTPayload): Promise<string> {
    const now = Math.floor(Date.now() / 1000)
    return new SignJWT({ aud: this.clientId, iat: now, exp: now + 3600, ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: 'key-1' })
      .sign((await keys).privateKey)
  }
}

/** What an OpenID provider publishes at the least. */
export function document(issuer: string, endpoints: Readonly<Record<string, string>>, more: object = {}): object {
  return {
    issuer,
    ...endpoints,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    ...more,
  }
}

async function hear(request: IncomingMessage): Promise<Heard> {
  let text = ''
  for await (const chunk of request) text += chunk
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const json = request.headers['content-type']?.startsWith('application/json')
  return {
    at: `${request.method} ${url.pathname}`,
    query: url.searchParams,
    headers: request.headers,
    body: json ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text)),
    bearer: /^(?:Bearer|OAuth) (.+)$/.exec(request.headers.authorization ?? '')?.[1],
  }
}
