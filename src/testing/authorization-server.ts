import { randomBytes } from 'node:crypto'
import { once, setMaxListeners } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { rewriteAnswers } from './authorization-server/answers.js'
import { answerApiRequest } from './authorization-server/api.js'
import { readBody, withBody } from './authorization-server/body.js'
import type { Faults } from './authorization-server/fault-types.js'
import {
  applyFault,
  approvedWith,
  breakConnection,
  type Exchange,
  type Fault,
  takeFault,
} from './authorization-server/faults.js'
import { issueTokens } from './authorization-server/issue-tokens.js'
import { loadOidcProvider } from './authorization-server/load.js'
import type {
  ApiRequest,
  AuthorizationServer,
  AuthorizationServerOptions,
  TestClient,
  TokenRequest,
} from './authorization-server/options.js'
import { ProofCheck } from './authorization-server/proofs.js'
import { createProvider } from './authorization-server/provider.js'
import { Signer } from './authorization-server/signer.js'
import { ServerStorage } from './authorization-server/storage.js'
import { ServerTime } from './authorization-server/time.js'
import { userOfName } from './authorization-server/users.js'

export type {
  AuthorizationFault,
  EndpointFault,
  Faults,
  IdTokenFault,
  Next,
  TokenFault,
  TokenTweak,
} from './authorization-server/fault-types.js'
export type {
  ApiRequest,
  AuthorizationServer,
  AuthorizationServerOptions,
  AutoApprove,
  IssuedTokens,
  TestApiRoute,
  TestClient,
  TestGrant,
  TestScope,
  TestUser,
  TokenRequest,
} from './authorization-server/options.js'

/** The endpoints that `oidc-provider` answers. */
const ENDPOINTS: Readonly<Record<string, Exclude<keyof Faults, 'tokenOnce'>>> = {
  '/auth': 'authorization',
  '/token': 'token',
  '/.well-known/openid-configuration': 'discovery',
  '/.well-known/oauth-authorization-server': 'discovery',
  '/jwks': 'jwks',
  '/token/revocation': 'revocation',
  '/me': 'userinfo',
}

const TOKEN_PATH = '/token'
const MAX_REMEMBERED = 1000

/**
 * Starts a real authorization server on this machine, with sign-in and consent pages, for tests and for trying things
 * out by hand. Needs `oidc-provider` to be installed.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * const server = await startAuthorizationServer({
 *   scopes: { 'files.read': { description: 'See your files' } },
 *   api: { '/files': { scope: 'files.read', body: ['a.txt'] } },
 *   autoApprove: { user: 'alice' },
 * })
 * // … point a client at server.issuer, with server.clientId and server.clientSecret …
 * server.faults.tokenOnce = '503'
 * await server.close()
 * ```
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
  const clients = options.clients ?? [defaultClient()]
  const [client] = clients
  if (client === undefined) throw new TypeError('clients must not be empty')
  const oidc = await loadOidcProvider()

  const time = new ServerTime(options.clock, () => server.clockSkew)
  const storage = new ServerStorage(time)
  const tokenRequests: TokenRequest[] = []
  const authorizationRequests: Record<string, string>[] = []
  const apiRequests: ApiRequest[] = []
  const revocations: string[] = []
  const closing = new AbortController()
  // One for each request that is held up.
  setMaxListeners(0, closing.signal)
  const faultOf = new WeakMap<ServerResponse, Fault>()

  const http = createServer()
  http.listen(options.port ?? 0, '127.0.0.1')
  await once(http, 'listening')
  const issuer = `http://${options.hostname ?? 'localhost'}:${(http.address() as AddressInfo).port}`

  const close = async () => {
    closing.abort()
    const closed = http.listening ? once(http, 'close') : undefined
    http.close()
    http.closeAllConnections()
    await closed
  }

  const proofs = new ProofCheck(issuer, options.dpop === 'nonce', () => time.now())
  const server: AuthorizationServer = {
    issuer,
    clientId: client.clientId,
    clientSecret: client.clientSecret ?? '',
    tokenRequests,
    authorizationRequests,
    apiRequests,
    revocations,
    autoApprove: options.autoApprove,
    faults: { ...options.faults },
    tweak: { ...options.tweak },
    clockSkew: 0,
    expireAccessTokens: async () => storage.forgetAccessTokens(),
    revokeGrants: async (user) => storage.removeGrants(user === undefined ? undefined : userOfName(user).sub),
    renewDPoPNonce: () => proofs.renewNonce(),
    issueTokens: async ({ user, scopes, clientId = client.clientId }) =>
      issueTokens(await started, { sub: userOfName(user).sub, scopes, clientId }),
    close,
  }

  const start = async () => {
    const signer = await Signer.create(time)
    const provider = await createProvider({
      oidc,
      issuer,
      clients,
      storage,
      options,
      signer,
      autoApprove: ({ res }) =>
        server.autoApprove && approvedWith(server.autoApprove, faultOf.get(res), Object.keys(options.scopes ?? {})),
    })
    const { googleHabits = true, rotateRefreshTokens = false } = options
    const rewrite = rewriteAnswers({
      tokenPath: TOKEN_PATH,
      tweak: () => server.tweak,
      faultOf: (res) => faultOf.get(res),
      signer,
      time,
      repeatRefreshToken: !googleHabits || rotateRefreshTokens,
    })
    provider.use(rewrite)
    return provider
  }
  const started = start()
  const answering = started.then((provider) => ({ provider, answer: provider.callback() }))

  const handle = async (req: IncomingMessage, res: ServerResponse) => {
    const { provider, answer } = await answering
    const exchange: Exchange = { req, res, closing: closing.signal }
    const { method = 'GET', headers } = req
    const [path = '/', ...rest] = (req.url ?? '/').split('?')
    const sent = {
      ...(headers.authorization === undefined ? {} : { authorization: headers.authorization }),
      ...(headers.dpop === undefined ? {} : { dpop: String(headers.dpop) }),
    }
    const route = Object.hasOwn(options.api ?? {}, path) ? options.api?.[path] : undefined
    const endpoint = route !== undefined ? 'api' : ENDPOINTS[path]
    let request = req
    if (route !== undefined) {
      remember(apiRequests, { method, path, ...sent })
    } else if (method === 'POST' && (endpoint === 'token' || endpoint === 'revocation')) {
      const body = await readBody(req)
      const params = Object.fromEntries(new URLSearchParams(body))
      if (endpoint === 'revocation') remember(revocations, params.token ?? '')
      else remember(tokenRequests, { grantType: params.grant_type ?? '', params, ...sent, at: time.now() })
      request = withBody(req, body)
    } else if (method === 'GET' && endpoint === 'authorization') {
      remember(authorizationRequests, Object.fromEntries(new URLSearchParams(rest.join('?'))))
    }

    const fault = faultAt(endpoint, method)
    if (fault !== undefined) faultOf.set(res, fault)
    if (!(await applyFault(exchange, fault))) return
    if (route !== undefined) await answerApiRequest(req, res, route, provider, proofs)
    else await answer(request, res)
  }

  const faultAt = (endpoint: Exclude<keyof Faults, 'tokenOnce'> | undefined, method: string): Fault | undefined => {
    if (endpoint === undefined || (endpoint === 'token' && method !== 'POST')) return undefined
    const once = endpoint === 'token' ? server.faults.tokenOnce : undefined
    if (once === undefined) return takeFault(server.faults, endpoint)
    server.faults.tokenOnce = undefined
    return once
  }

  // It listens already, and without this Node would leave whoever asks meanwhile without an answer.
  http.on('request', (req, res) => {
    handle(req, res).catch((error: unknown) => {
      if (res.headersSent || res.destroyed) return breakConnection({ req })
      res.writeHead(500, { 'Content-Type': 'text/plain; charset=utf-8' }).end(String(error))
    })
  })
  await answering.catch(async (error: unknown) => {
    await close()
    throw error
  })
  return server
}

function defaultClient(): TestClient {
  return { clientId: 'example-client', clientSecret: randomBytes(24).toString('base64url') }
}

function remember<T>(list: T[], item: T): void {
  list.push(item)
  if (list.length > MAX_REMEMBERED) list.shift()
}
