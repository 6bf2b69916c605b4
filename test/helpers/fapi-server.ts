/**
 * An authorization server written by others, set to FAPI 2.0 with message signing: it takes nothing but pushed, signed requests
 * of a client that proves itself with its key, and answers with signed JWTs. Whoever comes is signed in.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import type { ClientMetadata, Configuration } from 'oidc-provider'
import { onTestFinished } from 'vitest'
import { loadOidcProvider } from '../../src/testing/authorization-server/load.js'
import { ServerStorage } from '../../src/testing/authorization-server/storage.js'

export interface FapiServer {
  readonly issuer: string
  readonly clientId: string
  /** Paths that were asked for, with their method. */
  readonly requests: string[]
  /** For listeners of another kind. */
  readonly handle: RequestListener
  /** The client's redirect URI is part of what the server is made with. */
  open(redirectUri: string, client?: Partial<ClientMetadata>, configuration?: Configuration): Promise<void>
}

/** @param algorithm what everything is signed with, on both sides */
export async function startFapiServer(publicKey: JWK, algorithm: string): Promise<FapiServer> {
  const oidc = await loadOidcProvider()
  const requests: string[] = []
  let answer: RequestListener = (_request, response) => void response.writeHead(503).end()
  const handle: RequestListener = (request, response) => {
    requests.push(`${request.method} ${request.url?.split('?')[0]}`)
    answer(request, response)
  }
  const http = createServer(handle).listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.closeAllConnections()
    http.close()
  })
  const issuer = `http://localhost:${(http.address() as AddressInfo).port}`
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const open: FapiServer['open'] = async (redirectUri, client, { features, ...configuration } = {}) => {
    const storage = new ServerStorage()
    const provider = new oidc.Provider(issuer, {
      adapter: (model) => storage.adapter(model),
      clients: [
        {
          client_id: 'bank-app',
          redirect_uris: [redirectUri],
          grant_types: ['authorization_code', 'refresh_token'],
          response_types: ['code'],
          token_endpoint_auth_method: 'private_key_jwt',
          token_endpoint_auth_signing_alg: algorithm,
          request_object_signing_alg: algorithm,
          id_token_signed_response_alg: algorithm,
          authorization_signed_response_alg: algorithm,
          jwks: { keys: [publicKey] },
          ...client,
        } as ClientMetadata,
      ],
      jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: algorithm, use: 'sig', kid: 'server' }] },
      cookies: { keys: [randomBytes(16).toString('hex')] },
      claims: { openid: ['sub'], email: ['email', 'email_verified'] },
      conformIdTokenClaims: false,
      findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, email: `${sub}@example.com` }) }),
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      ttl: {
        AccessToken: 300,
        AuthorizationCode: 60,
        Grant: 3_600,
        IdToken: 300,
        Interaction: 300,
        RefreshToken: 3_600,
        Session: 3_600,
      },
      features: {
        devInteractions: { enabled: false },
        fapi: { enabled: true, profile: '2.0' },
        introspection: { enabled: true, allowedPolicy: () => true },
        jwtResponseModes: { enabled: true },
        pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
        requestObjects: { enabled: true, requireSignedRequestObject: true },
        revocation: { enabled: true, allowedPolicy: () => true },
        ...(features as object),
      },
      ...configuration,
    } satisfies Configuration)
    provider.silent = true
    provider.use(async (ctx, next) => {
      if (!ctx.path.startsWith('/interaction/')) return next()
      const { params } = await provider.interactionDetails(ctx.req, ctx.res)
      const grant = new provider.Grant({ accountId: 'alice', clientId: 'bank-app' })
      grant.addOIDCScope(String(params.scope))
      const consent = { grantId: await grant.save() }
      await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'alice' }, consent })
      ctx.respond = false
    })
    answer = provider.callback()
  }
  return { issuer, clientId: 'bank-app', requests, handle, open }
}
