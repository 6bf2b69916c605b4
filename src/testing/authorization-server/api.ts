import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Provider } from 'oidc-provider'
import type { TestApiRoute } from './options.js'
import type { ProofCheck } from './proofs.js'
import { userOfSub } from './users.js'

/** Answers a request to a protected resource as RFC 6750 has it, and RFC 9449 where the token is bound to a key. */
export async function answerApiRequest(
  req: IncomingMessage,
  res: ServerResponse,
  route: TestApiRoute,
  provider: Provider,
  proofs: ProofCheck,
): Promise<void> {
  const [, scheme, value] = /^(Bearer|DPoP) +(\S+)$/i.exec(req.headers.authorization ?? '') ?? []
  const token = value === undefined ? undefined : await provider.AccessToken.find(value)
  const user = userOfSub(token?.accountId ?? '')
  const { jkt } = (token ?? {}) as { jkt?: string }
  const [path = '/'] = (req.url ?? '/').split('?')
  if (jkt !== undefined && proofs.nonce !== undefined) res.setHeader('DPoP-Nonce', proofs.nonce)
  const bound = scheme?.toLowerCase() === 'dpop'
  const error = bound && jkt !== undefined ? await proofs.errorOf(req, path, value as string, jkt) : undefined
  if (error !== undefined || (token !== undefined && bound !== (jkt !== undefined))) {
    const code = error ?? 'invalid_token'
    res.setHeader('WWW-Authenticate', `DPoP error="${code}", algs="ES256 ES384 ES512 Ed25519 EdDSA"`)
    return send(res, 401, { error: code })
  }
  if (token === undefined || user === undefined) {
    res.setHeader('WWW-Authenticate', 'Bearer error="invalid_token"')
    return send(res, 401, { error: 'invalid_token' })
  }
  if (!token.scopes.has(route.scope)) {
    res.setHeader('WWW-Authenticate', `Bearer error="insufficient_scope", scope="${route.scope}"`)
    return send(res, 403, { error: 'insufficient_scope', scope: route.scope })
  }
  send(res, 200, typeof route.body === 'function' ? await route.body(user) : route.body)
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
  res.end(JSON.stringify(body) ?? 'null')
}
