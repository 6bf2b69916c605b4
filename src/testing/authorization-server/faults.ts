import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { EndpointFault, TokenFault, TokenTweak } from './fault-types.js'

/** Carries out faults. The `apply` functions say whether the request still wants its right answer. */

const SLOW_MS = 2000

export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Ends waits when the server closes. */
  readonly closing: AbortSignal
}

export async function applyEndpointFault(exchange: Exchange, fault: EndpointFault | undefined): Promise<boolean> {
  if (fault === undefined) return true
  if (fault === 'slow') return wait(exchange, SLOW_MS)
  if (typeof fault === 'object') return wait(exchange, fault.delay)
  if (fault === 'down') breakConnection(exchange)
  else if (fault === '500') sendPage(exchange, 500)
  else if (fault === 'html') sendPage(exchange, 200)
  return false
}

/** `lost_answer` counts as wanting an answer: it is for the caller to break the connection after it. */
export async function applyTokenFault(exchange: Exchange, fault: TokenFault | undefined): Promise<boolean> {
  if (typeof fault === 'object' && 'delay' in fault) return wait(exchange, fault.delay)
  if (typeof fault === 'object') {
    const { error, description, status = 400 } = fault
    sendJson(exchange, status, description === undefined ? { error } : { error, error_description: description })
    return false
  }
  switch (fault) {
    case undefined:
    case 'lost_answer':
      return true
    case 'hang':
      return false
    case 'reset':
      breakConnection(exchange)
      return false
    case '500':
      sendPage(exchange, 500)
      return false
    case '503':
      exchange.res.setHeader('Retry-After', '1')
      sendPage(exchange, 503)
      return false
    case 'html':
      sendPage(exchange, 200)
      return false
    case 'garbage':
      exchange.res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"access_token":"abc","token_ty')
      return false
    case 'invalid_client':
      if (exchange.req.headers.authorization !== undefined) exchange.res.setHeader('WWW-Authenticate', 'Basic')
      sendJson(exchange, 401, { error: fault })
      return false
    case 'invalid_grant':
      sendJson(exchange, 400, { error: fault })
      return false
  }
}

export function breakConnection({ req }: Pick<Exchange, 'req'>): void {
  req.socket.resetAndDestroy()
}

async function wait({ res, closing }: Exchange, ms: number): Promise<boolean> {
  await sleep(ms, undefined, { signal: closing }).catch(() => {})
  return !closing.aborted && !res.destroyed
}

function sendPage({ res }: Exchange, status: number): void {
  res
    .writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' })
    .end('<!doctype html><title>Not the answer</title>')
}

function sendJson({ res }: Exchange, status: number, body: object): void {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(body))
}

export interface TokenAnswerParts {
  readonly path: string
  readonly tweak: () => TokenTweak
  /** Google answers a refresh without repeating the refresh token. */
  readonly repeatRefreshToken: boolean
}

/** Rewrites successful token responses on their way out. */
export function tokenAnswers({ path, tweak, repeatRefreshToken }: TokenAnswerParts) {
  return async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next()
    if (ctx.path !== path || ctx.method !== 'POST' || ctx.status !== 200) return
    const { omitRefreshToken, omitIdToken, omitScope, expiresIn, set } = tweak()
    const body: Record<string, unknown> = { ...(ctx.body as Record<string, unknown>) }
    const refreshing = ctx.oidc.params?.grant_type === 'refresh_token'
    if (omitRefreshToken || (refreshing && !repeatRefreshToken)) delete body.refresh_token
    if (omitIdToken) delete body.id_token
    if (omitScope) delete body.scope
    if (expiresIn === null) delete body.expires_in
    else if (expiresIn !== undefined) body.expires_in = expiresIn
    ctx.body = { ...body, ...set }
  }
}
