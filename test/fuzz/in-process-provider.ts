/**
 * A provider behind the option `fetch`, without a network in between: what is fuzzed is what we make of its answers, a hundred
 * thousand times. The tests elsewhere talk to real servers.
 */
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import type { OAuth2ClientOptions } from '../../src/index.js'

export const ISSUER = 'https://provider.example'

/** Tokens and secrets: none of these may show anywhere. */
export const CANARY = 'canary9f3c1e'

/** A body and its headers, in the place of the usual ones. */
export interface Spoiled {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string
}

export interface InProcessProvider {
  readonly options: Pick<OAuth2ClientOptions, 'provider' | 'clientId' | 'clientSecret' | 'fetch'>
  /** What the next ID token has to answer. */
  nonce: string
  /** Seconds for which access tokens live. */
  lifetime: number
  /** Changes an answer, which is whole and right, by the path of its endpoint. */
  spoil: ((path: string, body: string) => Spoiled | undefined) | undefined
  /** Changes claims before they are signed. */
  claims: ((claims: JWTPayload) => unknown) | undefined
  /** A JWT with these claims, besides issuer, audience and times. */
  sign(claims: JWTPayload, header?: object): Promise<string>
  /** Every request, as method and URL. */
  readonly requests: string[]
}

export async function inProcessProvider({ discovery = false } = {}): Promise<InProcessProvider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }] }
  const metadata = {
    issuer: ISSUER,
    authorization_endpoint: `${ISSUER}/authorize`,
    token_endpoint: `${ISSUER}/token`,
    jwks_uri: `${ISSUER}/jwks`,
    revocation_endpoint: `${ISSUER}/revoke`,
    id_token_signing_alg_values_supported: ['ES256'],
  }
  let count = 0

  const usual = (claims: JWTPayload): JWTPayload => {
    const now = Math.floor(Date.now() / 1000)
    return { iss: ISSUER, aud: 'client', iat: now, exp: now + 300, ...claims }
  }
  const sign = (claims: JWTPayload, header: object = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k', ...header }).sign(privateKey)

  async function token(): Promise<unknown> {
    const claims = usual({ sub: 'person', nonce: provider.nonce })
    const id_token = await sign((provider.claims?.(claims) ?? claims) as JWTPayload)
    count += 1
    return {
      access_token: `${CANARY}-access-${count}`,
      token_type: 'Bearer',
      expires_in: provider.lifetime,
      refresh_token: `${CANARY}-refresh-${count}`,
      scope: 'openid email',
      id_token,
    }
  }

  const provider: InProcessProvider = {
    nonce: '',
    lifetime: 3_600,
    spoil: undefined,
    claims: undefined,
    requests: [],
    sign: (claims, header) => sign(usual(claims), header),
    options: {
      provider: discovery ? { issuer: ISSUER } : metadata,
      clientId: 'client',
      clientSecret: `${CANARY}-secret-that-is-long-enough-to-derive-from`,
      fetch: async (input, init) => {
        const { pathname } = new URL(String(input))
        provider.requests.push(`${init?.method ?? 'GET'} ${String(input)}`)
        let value: unknown = {}
        if (pathname === '/token') value = await token()
        else if (pathname === '/jwks') value = jwks
        else if (pathname.startsWith('/.well-known/')) value = metadata
        const whole = JSON.stringify(value)
        const { status = 200, headers = {}, body = whole } = provider.spoil?.(pathname, whole) ?? {}
        return new Response(status === 204 || status === 304 ? null : body, {
          status,
          headers: { 'content-type': 'application/json', ...headers },
        })
      },
    },
  }
  return provider
}
