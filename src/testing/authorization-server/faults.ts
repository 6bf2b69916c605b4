import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuthorizationFault, EndpointFault, Faults, TokenFault } from './fault-types.js'
import type { AutoApprove } from './options.js'

/** Carries out faults that are no matter of what is answered; `answers` has those that are. */

export type Fault = EndpointFault | TokenFault | AuthorizationFault

const SLOW_MS = 2000

const PAGES: Readonly<Record<string, number>> = { html: 200, '429': 429, '500': 500, '502': 502, '503': 503 }

export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Ends waits when the server closes. */
  readonly closing: AbortSignal
}

/** The fault of this request, which uses up its place in a list. */
export function takeFault(faults: Faults, endpoint: Exclude<keyof Faults, 'tokenOnce'>): Fault | undefined {
  const fault = faults[endpoint] as Fault | readonly Fault[] | undefined
  if (!Array.isArray(fault)) return fault as Fault | undefined
  const [next, ...rest] = fault
  faults[endpoint] = rest.length > 0 ? rest : undefined
  return next
}

/** @returns whether the request still wants its right answer */
export async function applyFault(exchange: Exchange, fault: Fault | undefined): Promise<boolean> {
  const { req, res } = exchange
  if (typeof fault === 'object' && 'delay' in fault) return wait(exchange, fault.delay)
  if (typeof fault === 'object') {
    const { error, description, status = 400 } = fault
    sendJson(exchange, status, description === undefined ? { error } : { error, error_description: description })
    return false
  }
  switch (fault) {
    case 'slow':
      return wait(exchange, SLOW_MS)
    case 'hang':
      return false
    case 'down':
    case 'reset':
      breakConnection(exchange)
      return false
    case 'lost_answer':
      res.end = () => {
        breakConnection(exchange)
        return res
      }
      return true
    case 'html':
    case '429':
    case '500':
    case '502':
    case '503':
      if (fault === '429' || fault === '503') res.setHeader('Retry-After', '1')
      res
        .writeHead(PAGES[fault] as number, { 'Content-Type': 'text/html; charset=utf-8' })
        .end('<!doctype html><title>Not the answer</title>')
      return false
    case 'garbage':
      res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"access_token":"abc","token_ty')
      return false
    case 'invalid_client':
      if (req.headers.authorization !== undefined) res.setHeader('WWW-Authenticate', 'Basic')
      sendJson(exchange, 401, { error: fault })
      return false
    case 'invalid_grant':
      sendJson(exchange, 400, { error: fault })
      return false
    default:
      return true
  }
}

/** What becomes of the one who approves. */
export function approvedWith(how: AutoApprove, fault: Fault | undefined, scopes: readonly string[]): AutoApprove {
  if (fault === 'partial_consent') return { ...how, decline: scopes }
  if (fault === 'access_denied') return { ...how, refuse: true }
  if (fault === 'other_account') return { ...how, user: 'somebody-else' }
  return how
}

export function breakConnection({ req }: Pick<Exchange, 'req'>): void {
  req.socket.resetAndDestroy()
}

async function wait({ res, closing }: Exchange, ms: number): Promise<boolean> {
  await sleep(ms, undefined, { signal: closing }).catch(() => {})
  return !closing.aborted && !res.destroyed
}

function sendJson({ res }: Exchange, status: number, body: object): void {
  res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(body))
}
