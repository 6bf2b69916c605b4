/** What all of Google's credentials that need no person have in common: a token, once for everybody, and `fetch` with it. */
import { type AccessToken, authorizedFetch, type TokenSource } from '../credentials/authorized-fetch.js'
import { OptionError } from '../errors.js'
import type { Fetch } from '../provider/http.js'

export const DEFAULT_UNIVERSE = 'googleapis.com'

/**
 * Options of all credentials in `fastify-oauth2client/google`. See {@link applicationDefaultCredentials},
 * {@link serviceAccountCredentials}.
 */
export interface GoogleCredentialsOptions {
  /** The project that is billed and whose quota counts, sent as `x-goog-user-project`. Default: none, or the one in the file. */
  readonly quotaProjectId?: string | undefined
  /** The domain of the APIs. Default `googleapis.com`, or the one in the file. */
  readonly universeDomain?: string | undefined
  /** Where `fetch` may send the token. Default `https://*.` followed by the universe's domain. */
  readonly allowedOrigins?: readonly string[] | undefined
  /** Outbound HTTP. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /** One deadline for each request for a token, in ms. Default 10,000. */
  readonly timeout?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

/** Milliseconds. A token that is about to expire could do so on its way. */
const MARGIN = 60_000

/**
 * An access token that renews itself, and `fetch` with it. {@link applicationDefaultCredentials} finds one;
 * {@link toGoogleAuth} takes it.
 */
export abstract class GoogleCredentials implements TokenSource {
  /** The domain of the APIs that these credentials are for. */
  readonly universeDomain: string
  /** The project that is billed, sent as `x-goog-user-project`. */
  readonly quotaProjectId: string | undefined
  /** Where `fetch` may send the token. */
  readonly allowedOrigins: readonly string[]
  /** @internal */
  protected readonly http: Fetch
  /** @internal */
  protected readonly clock: () => number
  readonly #refusals = new Map<string, number>()
  #current: AccessToken | undefined
  #renewing: Promise<AccessToken> | undefined

  /** @internal */
  constructor(options: GoogleCredentialsOptions) {
    const { universeDomain = DEFAULT_UNIVERSE, quotaProjectId, allowedOrigins, fetch, clock = Date.now } = options
    if (!/^[a-z\d-]+(\.[a-z\d-]+)+$/i.test(universeDomain)) {
      throw new OptionError('universeDomain', 'must be a domain, such as "googleapis.com".')
    }
    this.universeDomain = universeDomain
    this.quotaProjectId = quotaProjectId
    this.allowedOrigins = Object.freeze([...(allowedOrigins ?? [`https://*.${universeDomain}`])])
    this.http = fetch ?? ((input, init) => globalThis.fetch(input, init))
    this.clock = clock
  }

  /**
   * A token that works. One request serves everybody who asks at the same time.
   *
   * @param options.rejected a token that an API refused: any other one will do
   * @throws {GoogleCredentialsError} when Google refuses the credentials
   * @throws {ProviderUnavailableError} when it cannot be reached
   */
  async getAccessToken({ rejected }: { readonly rejected?: string } = {}): Promise<AccessToken> {
    const current = this.#current
    if (current && current.token !== rejected && this.clock() < (current.expiresAt ?? Infinity) - MARGIN) return current
    this.#renewing ??= this.renew(rejected)
      .then((token) => {
        this.#current = token
        return token
      })
      .finally(() => {
        this.#renewing = undefined
      })
    return this.#renewing
  }

  /**
   * `fetch` with the access token. Gets a new one and tries again once when the API answers 401.
   *
   * @throws {OriginNotAllowedError} for an origin that is not in `allowedOrigins`
   */
  async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined))
    if (this.quotaProjectId && !headers.has('x-goog-user-project')) {
      headers.set('x-goog-user-project', this.quotaProjectId)
    }
    const url = new URL(input instanceof Request ? input.url : input)
    const options = {
      source: this.sourceFor(url),
      allowedOrigins: this.allowedOrigins,
      fetch: this.http,
      clock: this.clock,
      refusals: this.#refusals,
      credential: '',
    }
    return authorizedFetch(options, input, { ...init, headers })
  }

  /** What loggers get: no token and no key. */
  toJSON(): Record<string, unknown> {
    return { redacted: true, universeDomain: this.universeDomain, quotaProjectId: this.quotaProjectId }
  }

  /** Where the token for a URL comes from. @internal */
  protected sourceFor(_url: URL): TokenSource {
    return this
  }

  /** Gets a token, another one than `rejected`. @internal */
  protected abstract renew(rejected: string | undefined): Promise<AccessToken>
}
