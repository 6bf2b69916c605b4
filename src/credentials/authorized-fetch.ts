/** `fetch` with the access token, to where it may go and nowhere else. RFC 6750 sections 2.1 and 5.3. */
import { OriginNotAllowedError } from '../errors.js'
import type { DPoP, DPoPProofRequest } from '../provider/dpop.js'
import { type Fetch, isSecureUrl } from '../provider/http.js'
import { challengeFrom } from './challenge-from.js'

/**
 * An access token and what is known about it. {@link UserOAuth2.getAccessToken} and other sources of tokens resolve to
 * one.
 */
export interface AccessToken {
  /** Secret: it goes into the `Authorization` header. */
  readonly token: string
  /** Milliseconds since the epoch; `undefined` when the provider did not say. */
  readonly expiresAt: number | undefined
  /** What it was granted, which may be less than what was asked for. */
  readonly scopes: readonly string[]
  /** `Bearer` or `DPoP`: the word before the token in the `Authorization` header. Default `Bearer`. */
  readonly tokenType?: string
  /** For a `DPoP` token: what to send in the `DPoP` header of one request. RFC 9449 section 7.1. */
  dpopProof?(request: DPoPProofRequest): Promise<string>
}

/**
 * Anything that can come up with an access token. What `toGoogleAuth` takes, for instance.
 *
 * @example
 * ```ts
 * import type { TokenSource } from 'fastify-oauth2client'
 *
 * async function callWith(source: TokenSource, url: string): Promise<Response> {
 *   const { token, tokenType = 'Bearer' } = await source.getAccessToken()
 *   return fetch(url, { headers: { authorization: `${tokenType} ${token}` } })
 * }
 * ```
 */
export interface TokenSource {
  /**
   * A token that can be used now. Rejects where there is none and only a person could help.
   *
   * @param options.rejected a token that an API refused: any other one will do, and no request is made if there is one
   */
  getAccessToken(options?: { readonly rejected?: string }): Promise<AccessToken>
}

export interface AuthorizedFetchOptions {
  readonly source: TokenSource
  readonly allowedOrigins: readonly string[]
  readonly fetch: Fetch
  readonly clock: () => number
  /** Until when an origin that refused a brand-new token is not given another one. Shared by every use of a credential. */
  readonly refusals: Map<string, number>
  /** Names the credential in `refusals`. */
  readonly credential: string
  /** Whether the token that was handed out last was obtained since then, and not before. Default: it was. */
  readonly isNew?: (since: number) => boolean
  /** Told of the nonces that APIs ask for. */
  readonly dpop?: DPoP
  /** What is stored, where that was only remembered so far: a step-up may have ended elsewhere. */
  readonly confirm?: () => Promise<AccessToken | undefined>
}

/** Milliseconds. An API that refuses every token must not make us fetch one for every call. */
const REFUSED_FOR = 60_000
const MAXIMUM_REFUSALS = 10_000

/**
 * Makes the call; on a 401 gets another access token and tries again, if the body can be sent again: once with a new one, and
 * before that with one that somebody else has got meanwhile, which may be over already too. Every answer of the API is
 * returned as it is.
 *
 * @throws {OriginNotAllowedError} instead of sending the token elsewhere
 */
export async function authorizedFetch(
  {
    source,
    allowedOrigins,
    fetch,
    clock,
    refusals,
    credential,
    isNew = () => true,
    confirm,
    dpop,
  }: AuthorizedFetchOptions,
  input: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  const request = input instanceof Request ? input : undefined
  const url = new URL(request ? request.url : String(input))
  if (!isAllowedOrigin(url, allowedOrigins)) throw new OriginNotAllowedError(url.origin)
  const sendOnce = async (access: AccessToken, nonce?: string) => {
    const headers = new Headers(init.headers ?? request?.headers)
    headers.set('authorization', `${access.dpopProof ? 'DPoP' : 'Bearer'} ${access.token}`)
    if (access.dpopProof) headers.set('dpop', await access.dpopProof({ url, method: methodOf(request, init), nonce }))
    // A Request's body can be read once; another attempt needs what is left of it.
    return fetch(request ? request.clone() : url, { ...init, headers })
  }
  const send = async (access: AccessToken) => {
    const response = await sendOnce(access)
    const nonce = dpop?.noteNonce('resource', url, response.headers)
    if (!access.dpopProof || nonce === undefined || proofRefusal(response) !== 'use_dpop_nonce') return response
    if (!isReplayable(init.body)) return response
    await response.body?.cancel()
    const again = await sendOnce(access, nonce)
    dpop?.noteNonce('resource', url, again.headers)
    return again
  }
  const startedAt = clock()
  let used = await source.getAccessToken()
  let response = await send(used)
  const refusal = `${credential}\n${url.origin}`
  if (confirm && isReplayable(init.body) && wantsMore(response)) {
    const stored = await confirm().catch(() => undefined)
    if (stored && stored.token !== used.token) {
      used = stored
      await response.body?.cancel()
      response = await send(used)
    }
  }
  if (!isReplayable(init.body) || startedAt < (refusals.get(refusal) ?? 0)) return response
  for (let renewed = false; isRefused(response) && !renewed; renewed = isNew(startedAt)) {
    const another = await anotherToken(source, used, response)
    if (!another) return response
    used = another
    await response.body?.cancel()
    response = await send(used)
  }
  if (isRefused(response)) {
    if (refusals.size >= MAXIMUM_REFUSALS) refusals.clear()
    refusals.set(refusal, clock() + REFUSED_FOR)
  }
  return response
}

/** As it will be sent: of some methods `fetch` changes the case. */
function methodOf(request: Request | undefined, { method = request?.method ?? 'GET' }: RequestInit): string {
  return new Request('http://localhost', { method }).method
}

/**
 * Whether the token is refused. A proof that is says nothing about it, and where the sign-in behind a token is what an API does
 * not like, no refresh makes another one of it: with another token, the answer would be the same. RFC 9470 section 3.
 */
function isRefused(response: Response): boolean {
  if (response.status !== 401 || proofRefusal(response) !== undefined) return false
  return challengeFrom(response)?.error !== 'insufficient_user_authentication'
}

/** What an API finds wrong with a proof of possession, where it is that and not the token. RFC 9449 sections 7.1 and 9. */
function proofRefusal(response: Response): string | undefined {
  const error = response.status === 401 ? challengeFrom(response)?.error : undefined
  return error === 'use_dpop_nonce' || error === 'invalid_dpop_proof' ? error : undefined
}

/** @throws when the credentials ended: that is for the guard to answer. An outage is not; the API's own answer says more. */
async function anotherToken(
  source: TokenSource,
  { token: rejected }: AccessToken,
  response: Response,
): Promise<AccessToken | undefined> {
  try {
    return await source.getAccessToken({ rejected })
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode !== 401) return undefined
    await response.body?.cancel()
    throw error
  }
}

function wantsMore(response: Response): boolean {
  const { error = '' } = (!response.ok && challengeFrom(response)) || {}
  return error === 'insufficient_user_authentication' || error === 'insufficient_scope'
}

function isReplayable(body: RequestInit['body']): boolean {
  // A stream that was sent is gone; everything else is still there.
  return !(body instanceof ReadableStream) && !(body && typeof body === 'object' && Symbol.asyncIterator in body)
}

export function isAllowedOrigin(url: URL, allowed: readonly string[]): boolean {
  if (!isSecureUrl(url)) return false
  return allowed.some((origin) => {
    const wildcard = origin.indexOf('//*.')
    if (wildcard === -1) return origin === url.origin
    return (
      url.origin.startsWith(origin.slice(0, wildcard + 2)) &&
      url.origin.endsWith(origin.slice(wildcard + 3)) &&
      url.origin.length > origin.length - 1
    )
  })
}
