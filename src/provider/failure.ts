/** What a failed exchange with a provider means for us: one small vocabulary for all the shapes that errors come in. */
import type { Exchange } from './http.js'

/**
 * What a failed exchange means, as {@link ProviderFailure} has it.
 *
 * - `invalid_grant`: the code or refresh token is refused for good
 * - `client`: our registration is refused, or nothing could be sent with it, such as when its key does not sign
 * - `rate_limited`: refused before anything was done
 * - `unsent`: no connection was made
 * - `in_doubt`: it may or may not have taken effect
 * - `refused`: another definite refusal
 * - `unusable`: an answer came, and cannot be trusted or understood
 */
export type FailureKind = 'invalid_grant' | 'client' | 'rate_limited' | 'unsent' | 'in_doubt' | 'refused' | 'unusable'

/**
 * A failed exchange, with nothing in it that a log should not see. Thrown by the grants of `/flows`. The message names
 * the kind, the code and the status, and never what was sent or answered.
 *
 * @example
 * ```ts
 * import { ProviderFailure } from 'fastify-oauth2client/flows'
 *
 * function delayAfter(error: unknown): number | undefined {
 *   if (!(error instanceof ProviderFailure) || !error.temporary) return undefined
 *   return (error.retryAfter ?? 30) * 1_000
 * }
 * ```
 */
export class ProviderFailure extends Error {
  /** What it means for whoever asked. */
  readonly kind: FailureKind
  /** The error code of RFC 6749 section 5.2, where one was given. */
  readonly error: string | undefined
  /** The HTTP status; `undefined` when there was no answer. */
  readonly status: number | undefined
  /** Seconds. What the provider's `Retry-After` said; `undefined` when it said nothing. */
  readonly retryAfter: number | undefined

  /** @param problem what is wrong with the answer, in words of ours */
  constructor(kind: FailureKind, exchange: Exchange, cause: unknown, problem = problemOf(exchange)) {
    const error = oauthError(exchange)
    const details = [kind, error, exchange.status && `HTTP ${exchange.status}`].filter(Boolean).join(', ')
    super(`${exchange.what ?? 'token request'} failed: ${details}${problem ? `: ${problem}` : ''}`, {
      cause: sanitizedCause(cause),
    })
    this.name = 'ProviderFailure'
    this.kind = kind
    this.error = error
    this.status = exchange.status
    this.retryAfter = exchange.retryAfter
  }

  /** Whether the provider, rather than the request, is at fault, so that trying again later makes sense. */
  get temporary(): boolean {
    return this.kind === 'unsent' || this.kind === 'in_doubt' || this.kind === 'rate_limited'
  }
}

/** Judges a failed exchange by what was really answered, not by how the protocol library names it. */
export function classify(exchange: Exchange, cause: unknown, problem?: string): ProviderFailure {
  return new ProviderFailure(kindOf(exchange), exchange, cause, problem)
}

function problemOf(exchange: Exchange): string | undefined {
  if (exchange.instead) return `the answer is ${exchange.instead}`
  // What everybody meets first, and the one refusal whose cure is always at our side.
  if (oauthError(exchange) !== 'invalid_client') return undefined
  return 'clientId, clientSecret or clientAuthentication is not what is registered there'
}

function kindOf(exchange: Exchange): FailureKind {
  const { status } = exchange
  const error = oauthError(exchange)
  if (exchange.sent === false) return 'unsent'
  // No connection was even tried: what failed is on this side, and fails again.
  if (status === undefined) return exchange.sent ? 'in_doubt' : 'client'
  if (status === 429) return 'rate_limited'
  // A server in trouble says anything; only a healthy one is believed when it calls a grant dead.
  if (status >= 500) return 'in_doubt'
  // Whatever calls itself a success may have had its effect, and a redirect comes from somebody else.
  if (error === undefined) return status < 300 ? 'unusable' : 'refused'
  if (status >= 300 && status < 400) return 'refused'
  if (error === 'invalid_grant' || error === 'bad_refresh_token' || error === 'bad_verification_code')
    return 'invalid_grant'
  if (error === 'slow_down' || error === 'temporarily_unavailable') return 'rate_limited'
  if (error === 'server_error') return 'in_doubt'
  if (error === 'invalid_client' || error === 'unauthorized_client' || error === 'incorrect_client_credentials')
    return 'client'
  return 'refused'
}

function oauthError({ body, challenge }: Exchange): string | undefined {
  const said = [body?.error, challenge?.match(/\berror\s*=\s*"?([a-z_]+)"?/i)?.[1]]
  return said.find((error): error is string => typeof error === 'string' && /^[a-z_]{1,64}$/.test(error))
}

/**
 * An error's name, code and the fixed texts of the libraries, without the responses, bodies and parameters that they hang
 * on their causes.
 */
export function sanitizedCause(cause: unknown): Error | undefined {
  if (!(cause instanceof Error)) return undefined
  const { code } = cause as { code?: unknown }
  const inner = cause.cause instanceof Error ? sanitizedCause(cause.cause) : undefined
  const clean = new Error(
    typeof code === 'string' ? `${cause.name} ${code}` : cause.name,
    inner ? { cause: inner } : undefined,
  )
  clean.name = cause.name
  // The stack of the original starts with its message; only the frames are safe to keep.
  const frames = cause.stack?.split('\n').filter((line) => /^\s+at /.test(line))
  clean.stack = [`${clean.name}: ${clean.message}`, ...(frames ?? [])].join('\n')
  return clean
}
