/** `fetch` with the access token, to where it may go and nowhere else. RFC 6750 sections 2.1 and 5.3. */
import { OriginNotAllowedError } from '../errors.js'
import { type Fetch, isSecureUrl } from '../provider/http.js'

/** An access token and what is known about it. */
export interface AccessToken {
  readonly token: string
  /** Milliseconds since the epoch; `undefined` when the provider did not say. */
  readonly expiresAt: number | undefined
  readonly scopes: readonly string[]
}

/** Anything that can come up with an access token. */
export interface TokenSource {
  /** @param options.rejected a token that an API refused: any other one will do, and no request is made if there is one */
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
  { source, allowedOrigins, fetch, clock, refusals, credential, isNew = () => true }: AuthorizedFetchOptions,
  input: string | URL | Request,
  init: RequestInit = {},
): Promise<Response> {
  const request = input instanceof Request ? input : undefined
  const url = new URL(request ? request.url : String(input))
  if (!isAllowedOrigin(url, allowedOrigins)) throw new OriginNotAllowedError(url.origin)
  const send = ({ token }: AccessToken) => {
    const headers = new Headers(init.headers ?? request?.headers)
    headers.set('authorization', `Bearer ${token}`)
    // A Request's body can be read once; another attempt needs what is left of it.
    return fetch(request ? request.clone() : url, { ...init, headers })
  }
  const startedAt = clock()
  let used = await source.getAccessToken()
  let response = await send(used)
  const refusal = `${credential}\n${url.origin}`
  if (!isReplayable(init.body) || startedAt < (refusals.get(refusal) ?? 0)) return response
  for (let renewed = false; response.status === 401 && !renewed; renewed = isNew(startedAt)) {
    const another = await anotherToken(source, used, response)
    if (!another) return response
    used = another
    await response.body?.cancel()
    response = await send(used)
  }
  if (response.status === 401) {
    if (refusals.size >= MAXIMUM_REFUSALS) refusals.clear()
    refusals.set(refusal, clock() + REFUSED_FOR)
  }
  return response
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
