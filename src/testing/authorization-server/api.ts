import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Provider } from 'oidc-provider'
import type { TestApiRoute } from './options.js'
import { userOfSub } from './users.js'

/** Answers a request to a protected resource as RFC 6750 has it. */
export async function answerApiRequest(
  req: IncomingMessage,
  res: ServerResponse,
  route: TestApiRoute,
  provider: Provider,
): Promise<void> {
  const [, value] = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '') ?? []
  const token = value === undefined ? undefined : await provider.AccessToken.find(value)
  const user = userOfSub(token?.accountId ?? '')
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
