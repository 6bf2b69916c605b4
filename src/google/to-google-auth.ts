/**
 * Our credentials as `auth` of Google's API clients.
 *
 * Those ask their `auth` for three things at run time: `request`, `getRequestHeaders` and, where it is there,
 * `getUniverseDomain`. The library's own client would refresh by itself, without telling anybody and without keeping what a
 * rotation brought; here it gets an access token for each call and no refresh token ever.
 */
import type { AuthClient } from 'google-auth-library'
import { type AccessToken, isAllowedOrigin, type TokenSource } from '../credentials/authorized-fetch.js'
import { OptionError, OriginNotAllowedError } from '../errors.js'
import { isSecureUrl } from '../provider/http.js'
import { DEFAULT_UNIVERSE } from './credentials.js'
import { requireLibrary } from './library.js'

/**
 * What API clients use of their `auth`, without the types of any version of `google-auth-library`. {@link toGoogleAuth}
 * gives them.
 */
export interface GoogleAuthMethods {
  /** The token alone, refreshed first if need be. */
  getAccessToken(): Promise<{ token?: string | null | undefined }>
  /** `authorization`, and `x-goog-user-project` where there is one. */
  getRequestHeaders(url?: string | URL): Promise<Headers>
  /** Compared by API clients with their own. */
  getUniverseDomain(): Promise<string>
  /** What API clients call: a request with the token, and one more after a 401. */
  request<T = unknown>(options: { url?: string | URL | undefined }): Promise<{ data: T; status: number }>
}

/**
 * The type that every version of every API client takes as `auth`: they list classes with private members, of which no two
 * versions fit each other, and `string`, for API keys. It is an object and no string. {@link toGoogleAuth} makes it.
 */
export type GoogleAuthClient = GoogleAuthMethods & string

/** Options of {@link toGoogleAuth}. */
export interface ToGoogleAuthOptions<Auth extends object = object> {
  /** The project that is billed, sent as `x-goog-user-project`. Default: that of the credentials, if they have one. */
  readonly quotaProjectId?: string | undefined
  /** The domain of the APIs, which the API client has to be for too. Default: that of the credentials, or `googleapis.com`. */
  readonly universeDomain?: string | undefined
  /**
   * Where the token may go. Default: wherever the API client sends it, over HTTPS (HTTP to this machine). Set it where the URL of
   * a request could be somebody else's choice.
   */
  readonly allowedOrigins?: readonly string[] | undefined
  /**
   * The class to extend, such as `auth.OAuth2` of the API's own package. Default: `AuthClient` of `google-auth-library`. With
   * it, the result has exactly the type that the package wants, and the optional peer is not needed.
   */
  readonly AuthClient?: (new (options?: never) => Auth) | undefined
}

/** The part of the library's clients that this builds on. */
type Base = new (options: object) => Pick<AuthClient, 'transporter'>
type RequestOptions = NonNullable<Parameters<AuthClient['transporter']['request']>[0]>

/** Milliseconds. An API that refuses every token must not make us fetch one for every call. */
const REFUSED_FOR = 60_000

/**
 * Any credentials as `auth` of an API client of `googleapis` or `@googleapis/*`, unmodified. Each call gets a token from
 * `source`; on a 401 the source is told, once, and the call is made again with what it gives, if its body can be sent again.
 * Refreshing, and keeping what a refresh brought, stays with the source.
 *
 * Make one for each person: `google.options({ auth })` would be everybody's. Needs `google-auth-library` 10 or 11, as
 * `googleapis` brings it since 150. The result's type fits `auth` of every API client. Where exactly a class is wanted, name
 * it, `toGoogleAuth<OAuth2Client>(user)`, or hand it in with `AuthClient`.
 *
 * @throws {MissingPeerError} without `google-auth-library`
 * @throws {OptionError} for something that is no source of tokens
 * @example
 * ```ts
 * import { drive } from '@googleapis/drive'
 * import { requireOAuth } from 'fastify-oauth2client'
 * import { toGoogleAuth } from 'fastify-oauth2client/google'
 * import type { FastifyInstance } from 'fastify'
 *
 * function routes(app: FastifyInstance) {
 *   const scope = 'https://www.googleapis.com/auth/drive.readonly'
 *   app.get('/files', { onRequest: requireOAuth(scope) }, async (request) => {
 *     const files = drive({ version: 'v3', auth: toGoogleAuth(request.oauth2) })
 *     return (await files.files.list()).data
 *   })
 * }
 * ```
 */
export function toGoogleAuth<Auth extends object>(
  source: TokenSource,
  options: ToGoogleAuthOptions<Auth> & { readonly AuthClient: new (options?: never) => Auth },
): Auth
export function toGoogleAuth<Auth = GoogleAuthClient>(source: TokenSource, options?: ToGoogleAuthOptions): Auth
export function toGoogleAuth(source: TokenSource, options: ToGoogleAuthOptions = {}): unknown {
  if (typeof source?.getAccessToken !== 'function') {
    throw new OptionError(
      'source',
      'must have getAccessToken(), such as request.oauth2 or await fastify.oauth2.user(key).',
    )
  }
  return new (classOver((options.AuthClient ?? requireLibrary().AuthClient) as unknown as Base))(source, options)
}

const classes = new WeakMap<Base, ReturnType<typeof makeClass>>()

function classOver(base: Base): ReturnType<typeof makeClass> {
  let made = classes.get(base)
  if (!made) {
    made = makeClass(base)
    classes.set(base, made)
  }
  return made
}

function makeClass(base: Base) {
  return class TokenSourceClient extends base {
    readonly #source: TokenSource
    readonly #universe: string
    readonly #quotaProject: string | undefined
    readonly #allowed: readonly string[] | undefined
    /** Until when an origin that refused a brand-new token is not given another one. */
    readonly #refusals = new Map<string, number>()

    constructor(source: TokenSource, options: ToGoogleAuthOptions) {
      const { universeDomain, quotaProjectId } = source as { universeDomain?: unknown; quotaProjectId?: unknown }
      const universe =
        options.universeDomain ?? (typeof universeDomain === 'string' ? universeDomain : DEFAULT_UNIVERSE)
      const project = options.quotaProjectId ?? (typeof quotaProjectId === 'string' ? quotaProjectId : undefined)
      super({ universeDomain: universe, ...(project === undefined ? {} : { quotaProjectId: project }) })
      this.#source = source
      this.#universe = universe
      this.#quotaProject = project
      this.#allowed = options.allowedOrigins
    }

    async getAccessToken() {
      const { token } = await this.#source.getAccessToken()
      return { token, res: null }
    }

    async getUniverseDomain(): Promise<string> {
      return this.#universe
    }

    async getRequestHeaders(url?: string | URL): Promise<Headers> {
      if (url !== undefined) this.#check(url)
      return this.#headers(await this.#source.getAccessToken())
    }

    request(options: RequestOptions, callback?: (error: unknown, response?: unknown) => void) {
      const answer = this.#send(options)
      if (!callback) return answer
      return void answer.then(
        (response) => callback(null, response),
        (error) => callback(error, error?.response),
      )
    }

    async #send(options: RequestOptions): Promise<unknown> {
      const origin = this.#check(options.url, options.baseURL)
      const first = await this.#source.getAccessToken()
      const outcome = await this.#attempt(options, first)
      if (!isRefused(outcome) || !isReplayable(options) || Date.now() < (this.#refusals.get(origin) ?? 0)) {
        return settle(outcome)
      }
      let second: AccessToken
      try {
        second = await this.#source.getAccessToken({ rejected: first.token })
      } catch (error) {
        // The credentials ended, and that is what has to be known. In an outage, the API's own answer says more.
        if ((error as { statusCode?: number }).statusCode === 401) throw error
        return settle(outcome)
      }
      const again = await this.#attempt(options, second)
      if (isRefused(again)) this.#refusals.set(origin, Date.now() + REFUSED_FOR)
      return settle(again)
    }

    async #attempt(options: RequestOptions, token: AccessToken): Promise<Outcome> {
      const headers = this.#headers(token, new Headers(options.headers as Headers | undefined))
      try {
        return { response: await this.transporter.request({ ...options, headers } as RequestOptions) }
      } catch (error) {
        return { error }
      }
    }

    #headers({ token, tokenType = 'Bearer' }: AccessToken, headers = new Headers()): Headers {
      if (tokenType.toLowerCase() === 'dpop') {
        throw new OptionError(
          'source',
          `gives tokens of type ${tokenType}, which these API clients cannot send. Use fetch().`,
        )
      }
      headers.set('authorization', `Bearer ${token}`)
      if (this.#quotaProject && !headers.has('x-goog-user-project')) {
        headers.set('x-goog-user-project', this.#quotaProject)
      }
      return headers
    }

    /** @returns the origin */
    #check(target: string | URL | undefined, base?: string | URL): string {
      const url = new URL(String(target), base)
      const allowed = this.#allowed ? isAllowedOrigin(url, this.#allowed) : isSecureUrl(url)
      if (!allowed) throw new OriginNotAllowedError(url.origin)
      return url.origin
    }
  }
}

type Outcome = { readonly response: unknown } | { readonly error: unknown }

function settle(outcome: Outcome): unknown {
  if ('error' in outcome) throw outcome.error
  return outcome.response
}

/** Also where `validateStatus` lets every answer pass. */
function isRefused(outcome: Outcome): boolean {
  const { response } = 'error' in outcome ? (outcome.error as { response?: unknown }) : outcome
  return (response as { status?: unknown } | undefined)?.status === 401
}

/** A stream that was sent is gone; everything else is still there. */
function isReplayable({ data, body, multipart }: RequestOptions & { body?: unknown; multipart?: unknown }): boolean {
  if (Array.isArray(multipart)) return multipart.every((part: { content?: unknown }) => isWhole(part.content))
  return isWhole(data) && isWhole(body)
}

function isWhole(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return !('pipe' in value) && !(value instanceof ReadableStream) && !(Symbol.asyncIterator in value)
}
