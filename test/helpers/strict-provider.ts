/**
 * An authorization server that forgives nothing: every refresh replaces the refresh token, and whoever presents a replaced
 * one kills the whole family. It takes its time, and counts.
 */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Everything that came of one authorization. */
export interface Family {
  readonly user: string
  /** The only refresh token that works. */
  refreshToken: string
  /** The access token that was issued last. */
  accessToken: string
  /** Undefined while it lives. */
  end: 'reuse' | 'revoked' | undefined
}

/** How an exchange at the token endpoint goes on. */
export interface TokenRequest {
  readonly refreshToken: string
  readonly family: Family | undefined
}

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

/** At the token endpoint: `before` the request has its effect, or `after` that and before the answer leaves. */
type Step = (when: 'before' | 'after', request: TokenRequest) => unknown

export class StrictProvider {
  issuer = 'http://localhost:1'
  readonly clientId = 'strict-client'
  readonly clientSecret = 'strict-secret-that-is-long-enough-to-make-keys-of'
  /** Milliseconds between the effect of a token request and its answer: from, to. */
  delay: readonly [number, number] = [0, 0]
  /** `'drop'` breaks the connection instead of going on. */
  step: Step = () => undefined
  /** Refresh tokens as they came in. */
  readonly received: string[] = []
  readonly families: Family[] = []
  readonly #byToken = new Map<string, Family>()
  #server: Server | undefined

  /** What an app needs to know. */
  get options() {
    const { issuer, clientId, clientSecret } = this
    const provider = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      revocation_endpoint: `${issuer}/revoke`,
    }
    return { provider, clientId, clientSecret }
  }

  async listen(): Promise<this> {
    const server = createServer((request, response) => {
      this.#serve(request).then(
        ({ status, body }) => {
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
        },
        () => request.socket.destroy(),
      )
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.issuer = `http://localhost:${(server.address() as { port: number }).port}`
    return this
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve(undefined)))
  }

  /** What a person's authorization would have brought, some time ago: the access token has expired since. */
  authorize(user: string): Family {
    const family: Family = { user, refreshToken: mint('rt'), accessToken: mint('at'), end: undefined }
    this.#byToken.set(family.refreshToken, family)
    this.families.push(family)
    return family
  }

  /** How often a refresh token was presented. */
  count(refreshToken: string): number {
    return this.received.filter((token) => token === refreshToken).length
  }

  /** Refresh tokens that were presented more than once. */
  get reused(): string[] {
    return [...new Set(this.received)].filter((token) => this.count(token) > 1)
  }

  /** For apps that run in the test's own process: the same without a network. */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init)
    const { pathname } = new URL(request.url)
    const { status, body } = await this.#answer(pathname, new URLSearchParams(await request.text()))
    return Response.json(body, { status })
  }

  async #serve(request: IncomingMessage): Promise<Answer> {
    let body = ''
    for await (const chunk of request) body += chunk
    return this.#answer(request.url ?? '', new URLSearchParams(body))
  }

  async #answer(path: string, params: URLSearchParams): Promise<Answer> {
    const known = params.get('client_id') === this.clientId && params.get('client_secret') === this.clientSecret
    if (!known) return { status: 401, body: { error: 'invalid_client' } }
    if (path === '/token') return this.#refresh(params.get('refresh_token') ?? '')
    if (path === '/revoke') return this.#revoke(params.get('token') ?? '')
    return { status: 404, body: { error: 'not_found' } }
  }

  async #refresh(refreshToken: string): Promise<Answer> {
    this.received.push(refreshToken)
    const family = this.#byToken.get(refreshToken)
    await this.#at('before', { refreshToken, family })
    const answer = this.#rotate(refreshToken, family)
    const [from, to] = this.delay
    if (to > 0) await sleep(from + Math.random() * (to - from))
    await this.#at('after', { refreshToken, family })
    return answer
  }

  #rotate(refreshToken: string, family: Family | undefined): Answer {
    if (family && !family.end && family.refreshToken !== refreshToken) family.end = 'reuse'
    if (!family || family.end) return { status: 400, body: { error: 'invalid_grant' } }
    family.refreshToken = mint('rt')
    family.accessToken = mint('at')
    this.#byToken.set(family.refreshToken, family)
    const { accessToken: access_token, refreshToken: refresh_token } = family
    return { status: 200, body: { access_token, refresh_token, token_type: 'Bearer', expires_in: 3600 } }
  }

  /** RFC 7009, to the letter: a token that is of no use any more is none, and nothing else dies with it. */
  #revoke(token: string): Answer {
    const family = this.#byToken.get(token)
    if (family && !family.end && family.refreshToken === token) family.end = 'revoked'
    return { status: 200, body: {} }
  }

  async #at(when: 'before' | 'after', request: TokenRequest): Promise<void> {
    if ((await this.step(when, request)) === 'drop') throw new Error('connection dropped by the test')
  }
}

function mint(kind: 'at' | 'rt'): string {
  return `${kind}-${randomBytes(12).toString('hex')}`
}
