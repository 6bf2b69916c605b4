/** The JWT bearer grant. RFC 7523 section 2.1. Called by `google/service-account` only. */
import { GoogleCredentialsError, ProviderUnavailableError } from '../errors.js'
import { boundedFetch, type Fetch } from '../provider/http.js'

export interface TokenAnswer {
  readonly token: string
  /** Seconds. */
  readonly expiresIn: number | undefined
  readonly scope: string | undefined
}

/** @throws {GoogleCredentialsError} when the assertion is refused @throws {ProviderUnavailableError} */
export async function requestToken(
  fetch: Fetch,
  timeout: number,
  tokenUri: string,
  assertion: string,
): Promise<TokenAnswer> {
  const body = new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion })
  let status: number
  let answer: Record<string, unknown> | undefined
  try {
    const response = await boundedFetch(fetch, timeout)(tokenUri, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body,
      redirect: 'manual',
    })
    status = response.status
    answer = await response.json().catch(() => undefined)
  } catch (cause) {
    throw new ProviderUnavailableError({ cause })
  }
  if (status >= 500 || status === 429) throw new ProviderUnavailableError({ cause: new Error(`HTTP ${status}`) })
  if (status !== 200) throw refusal(status, answer?.error)
  const { access_token: token, expires_in: seconds, scope } = answer ?? {}
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new GoogleCredentialsError('the answer of the token endpoint has no access token.')
  }
  const expiresIn = Number(seconds)
  return {
    token,
    expiresIn: Number.isFinite(expiresIn) && expiresIn > 0 ? expiresIn : undefined,
    scope: typeof scope === 'string' ? scope : undefined,
  }
}

const HINTS: Record<string, string> = {
  invalid_grant: ' Is the key deleted, this clock wrong, or the subject unknown?',
  unauthorized_client: ' Has the domain delegated these scopes to the service account?',
  invalid_scope: ' Is a scope misspelled?',
}

/** Of what a provider says, only an error code is repeated. RFC 6749 section 5.2. */
export function refusal(status: number, error: unknown): Error {
  const code = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? error : `HTTP ${status}`
  return new GoogleCredentialsError(`the token endpoint refuses them (${code}).${HINTS[code] ?? ''}`)
}
