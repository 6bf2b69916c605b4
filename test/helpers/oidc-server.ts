/**
 * An authorization server written by others, with the configuration that a test gives it and nothing else changed: what it does
 * where nothing is said is its own habit. Whoever comes is signed in as `alice` and grants everything.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import type { ClientMetadata, Configuration, Provider } from 'oidc-provider'
import { onTestFinished } from 'vitest'
import { loadOidcProvider } from '../../src/testing/authorization-server/load.js'
import { ServerStorage } from '../../src/testing/authorization-server/storage.js'

/** What its middleware is given. */
export type Context = Parameters<Parameters<Provider['use']>[0]>[0]

export interface OidcServerOptions {
  /** With its redirect URIs. */
  readonly client: ClientMetadata
  /** Of the issuer, such as `/realms/a`. */
  readonly path?: string
  /** Of the keys that it signs with; it publishes one of each. */
  readonly algorithms?: readonly string[]
  readonly configuration?: Configuration
  /** What the person grants of the scopes that were asked for. Default: all. */
  readonly grant?: (scopes: string[]) => string[]
  /** Changes what was answered. */
  readonly after?: (ctx: Context) => void
}

/** @returns the issuer. Closed when the test ends. */
export async function startOidcServer(options: OidcServerOptions): Promise<string> {
  const { client, path = '', algorithms = ['RS256'], configuration = {}, grant = (scopes) => scopes, after } = options
  const oidc = await loadOidcProvider()
  let answer: RequestListener = (_request, response) => void response.writeHead(503).end()
  const http = createServer((request: IncomingMessage & { originalUrl?: string | undefined }, response) => {
    // As it is mounted in an application of Express.
    request.originalUrl = request.url
    if (request.url?.startsWith(path)) request.url = request.url.slice(path.length)
    else response.writeHead(404)
    if (response.statusCode === 404) response.end()
    else answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.closeAllConnections()
    http.close()
  })
  const issuer = `http://localhost:${(http.address() as AddressInfo).port}${path}`
  const storage = new ServerStorage()
  const keys = algorithms.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `key-${alg}` }
  })
  const provider = new oidc.Provider(issuer, {
    adapter: (model) => storage.adapter(model),
    clients: [client],
    jwks: { keys: await Promise.all(keys) },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, email: `${sub}@example.com` }) }),
    interactions: { url: (_ctx, { uid }) => `${path}/interaction/${uid}` },
    ttl: {
      AccessToken: 3_600,
      AuthorizationCode: 60,
      Grant: 86_400,
      IdToken: 3_600,
      Interaction: 300,
      RefreshToken: 86_400,
      Session: 86_400,
    },
    ...configuration,
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: () => true },
      ...configuration.features,
    },
  })
  provider.silent = true
  provider.use(async (ctx, next) => {
    await next()
    after?.(ctx)
  })
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) return next()
    const { params } = await provider.interactionDetails(ctx.req, ctx.res)
    const given = new provider.Grant({ accountId: 'alice', clientId: client.client_id })
    const scopes = grant(String(params.scope).split(' ')).join(' ')
    given.addOIDCScope(scopes)
    if (params.resource) given.addResourceScope(String(params.resource), scopes)
    const consent = { grantId: await given.save() }
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'alice' }, consent })
    ctx.respond = false
  })
  answer = provider.callback()
  return issuer
}
