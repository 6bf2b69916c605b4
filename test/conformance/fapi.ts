/** A client as FAPI 2.0 wants it, at a real authorization server of that kind and at one that does a thing wrong. */
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import type { ClientMetadata, Configuration } from 'oidc-provider'
import { onTestFinished } from 'vitest'
import { type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { type FapiServer, startFapiServer } from '../helpers/fapi-server.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'

const ALGORITHM = 'PS256'
const encryptionKeys = 'encryption-key-of-this-test-of-enough-length'
const pair = await generateKeyPair(ALGORITHM, { extractable: true })
const named = { alg: ALGORITHM, kid: 'client' }
const clientKey = { ...(await exportJWK(pair.privateKey)), ...named } as JWK
const publicKey: JWK = { ...(await exportJWK(pair.publicKey)), ...named, use: 'sig' }

/** A key in the place of a secret, pushed requests, tokens that are bound to a key. */
const BASELINE: Partial<OAuth2ClientOptions> = {
  clientSecret: undefined as never,
  clientKey,
  pushedAuthorizationRequests: true,
  dpop: true,
  encryptionKeys,
}

/** Message signing on top of it: requests and answers are signed. */
export const SIGNED: Partial<OAuth2ClientOptions> = { signedRequestObjects: true, responseMode: 'jwt' }

/** At the server: neither is, which the security profile alone does not ask for. */
export const UNSIGNED = {
  registration: { request_object_signing_alg: undefined, authorization_signed_response_alg: undefined },
  features: { requestObjects: { enabled: false }, jwtResponseModes: { enabled: false } },
} as const

/** For `signIn`: a provider whose endpoints can be scripted, and the client of it. */
export async function scriptedBank(client: Partial<OAuth2ClientOptions> = {}): Promise<TestAppOptions> {
  const provider = await startScriptedProvider({ clientSecret: null, algorithm: ALGORITHM })
  onTestFinished(() => provider.close())
  provider.parAnswer = (_params, defaults) => defaults()
  provider.tokenAnswer = async (_params, defaults) => {
    const { status, body } = await defaults()
    return { ...(status ? { status } : {}), body: { ...body, ...('access_token' in body && { token_type: 'DPoP' }) } }
  }
  provider.metadata = (usual) => ({
    ...usual,
    require_pushed_authorization_requests: true,
    token_endpoint_auth_methods_supported: ['private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: [ALGORITHM],
    request_object_signing_alg_values_supported: [ALGORITHM],
    authorization_signing_alg_values_supported: [ALGORITHM],
    dpop_signing_alg_values_supported: ['ES256'],
  })
  return { provider, client: { ...BASELINE, ...client } }
}

/** What went out to the provider or an API. */
export interface Sent {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  readonly params: URLSearchParams
}

export interface Bank extends TestApp {
  readonly server: FapiServer
  readonly sent: Sent[]
}

export interface BankOptions {
  readonly client?: Partial<OAuth2ClientOptions>
  readonly fetch?: typeof globalThis.fetch
  readonly registration?: { readonly [name in keyof ClientMetadata]?: ClientMetadata[name] | undefined }
  readonly server?: (server: FapiServer) => Promise<Configuration>
  /** Where the accounts are. */
  readonly api?: (server: FapiServer) => string
}

/** An app at a real authorization server of that profile: `/accounts` calls an API, `/again` fetches another access token first. */
export async function realBank(options: BankOptions = {}): Promise<Bank> {
  const server = await startFapiServer(publicKey, ALGORITHM)
  const { fetch = globalThis.fetch, api = ({ issuer }) => `${issuer}/me` } = options
  const sent: Sent[] = []
  const configuration = await options.server?.(server)
  const app = await startApp({
    storage: memoryStore(),
    client: {
      ...BASELINE,
      provider: { issuer: server.issuer },
      clientId: server.clientId,
      allowedOrigins: [new URL(api(server)).origin],
      clock: Date.now,
      fetch: async (input, init) => {
        const { method = 'GET', headers, body } = init ?? {}
        const params = new URLSearchParams(body instanceof URLSearchParams ? body : '')
        sent.push({ method, url: String(input), headers: new Headers(headers), params })
        return fetch(input, init)
      },
      ...options.client,
    },
    routes(routes) {
      routes.get('/accounts', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
        const response = await oauth2.fetch(api(server))
        return reply.code(response.status).send(await response.json())
      })
      routes.get('/again', { onRequest: requireOAuth() }, async ({ oauth2 }, reply) => {
        const { token: rejected } = await oauth2.getAccessToken()
        await oauth2.getAccessToken({ rejected })
        return reply.redirect('/accounts')
      })
    },
  })
  await server.open(`${app.url}/oauth2callback`, options.registration as Partial<ClientMetadata>, configuration)
  return { ...app, server, sent }
}
