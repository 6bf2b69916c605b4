/** What the test authorization server can do wrong on purpose. */

/**
 * What happens to a request to the token endpoint instead of an answer. See {@link Faults}.
 *
 * - `hang`: no answer, and the connection stays open;
 * - `reset`: the connection breaks without an answer;
 * - `lost_answer`: the request takes effect and the connection breaks before the answer;
 * - `500`, `503`: an error page of that status, the latter with `Retry-After`;
 * - `html`: a web page with status 200, as a captive portal would send;
 * - `garbage`: JSON that ends in the middle, with status 200;
 * - `invalid_client`, `invalid_grant`: that error, whatever was sent;
 * - `{ error }`: any other OAuth error; status 400 unless told otherwise;
 * - `{ delay }`: the right answer after so many milliseconds.
 */
export type TokenFault =
  | 'hang'
  | 'reset'
  | 'lost_answer'
  | '500'
  | '503'
  | 'html'
  | 'garbage'
  | 'invalid_client'
  | 'invalid_grant'
  | { readonly error: string; readonly description?: string; readonly status?: number }
  | { readonly delay: number }

/**
 * What happens to a request to another endpoint. See {@link Faults}.
 *
 * - `down`: the connection breaks without an answer;
 * - `hang`: no answer, and the connection stays open;
 * - `slow`: the right answer after two seconds;
 * - `500`: an error page;
 * - `html`: a web page with status 200;
 * - `{ delay }`: the right answer after so many milliseconds.
 */
export type EndpointFault = 'down' | 'hang' | 'slow' | '500' | 'html' | { readonly delay: number }

/**
 * Faults hold until they are set to `undefined`, except `tokenOnce`.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * const server = await startAuthorizationServer()
 * server.faults.token = '503'
 * // every request to the token endpoint fails …
 * server.faults.token = undefined
 * server.faults.tokenOnce = 'lost_answer'
 * // … only the next one fails
 * ```
 */
export interface Faults {
  /** Requests to the token endpoint. */
  token?: TokenFault | undefined
  /** Used up by the next request to the token endpoint, and stronger than `token`. */
  tokenOnce?: TokenFault | undefined
  /** The metadata. */
  discovery?: EndpointFault | undefined
  /** The keys. */
  jwks?: EndpointFault | undefined
  /** Requests to the revocation endpoint. */
  revocation?: EndpointFault | undefined
  /** Requests to the userinfo endpoint. */
  userinfo?: EndpointFault | undefined
  /** Every resource of `api`. */
  api?: EndpointFault | undefined
}

/**
 * Changes to successful token responses, made after the tokens took effect.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer, type TokenTweak } from 'fastify-oauth2client/testing'
 *
 * const short: TokenTweak = { omitRefreshToken: true, expiresIn: 5 }
 * const server = await startAuthorizationServer({ tweak: short })
 * ```
 */
export interface TokenTweak {
  /** Leave out `refresh_token`. */
  omitRefreshToken?: boolean | undefined
  /** Leave out `id_token`. */
  omitIdToken?: boolean | undefined
  /** Leave out `scope`. */
  omitScope?: boolean | undefined
  /** Seconds to claim as `expires_in`, or `null` to leave it out. The real lifetime stays as it is. */
  expiresIn?: number | null | undefined
  /** Any other member of the response, by name. */
  set?: Readonly<Record<string, unknown>> | undefined
}
