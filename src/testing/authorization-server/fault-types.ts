/** What the test authorization server can do wrong on purpose. */

/**
 * What happens to a request, at any endpoint. See {@link Faults}.
 *
 * - `slow`: the right answer after two seconds; `{ delay }`: after so many milliseconds;
 * - `hang`: no answer, and the connection stays open;
 * - `down`, `reset`: the connection breaks without an answer;
 * - `lost_answer`: the request takes effect and the connection breaks before the answer;
 * - `429`, `500`, `502`, `503`: a page of that status, the first and the last with `Retry-After`;
 * - `html`: a web page with status 200, as a captive portal would send;
 * - `garbage`: JSON that ends in the middle, with status 200.
 */
export type EndpointFault =
  | 'slow'
  | 'hang'
  | 'down'
  | 'reset'
  | 'lost_answer'
  | '429'
  | '500'
  | '502'
  | '503'
  | 'html'
  | 'garbage'
  | { readonly delay: number }

/**
 * The ID token of an answer, otherwise right. See {@link Faults}.
 *
 * - `expired_id_token`: of the day before;
 * - `replayed_id_token`: with the nonce of another sign-in;
 * - `wrong_issuer`, `wrong_audience`: of another server, for another client;
 * - `new_key`: signed with a key that is in the key set from now on;
 * - `unknown_key`: signed with a key that is not.
 */
export type IdTokenFault =
  | 'expired_id_token'
  | 'replayed_id_token'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'new_key'
  | 'unknown_key'

/**
 * What happens to a request to the token endpoint besides. See {@link Faults}.
 *
 * - `invalid_client`, `invalid_grant`: that error, whatever was sent; `{ error }`: any other, with status 400 unless told otherwise;
 * - `no_refresh_token`: the right answer without one.
 */
export type TokenFault =
  | EndpointFault
  | IdTokenFault
  | 'invalid_client'
  | 'invalid_grant'
  | 'no_refresh_token'
  | { readonly error: string; readonly description?: string; readonly status?: number }

/**
 * What happens to an authorization request besides; see {@link Faults}. All but `wrong_issuer` are about what `autoApprove` does.
 *
 * - `partial_consent`: every scope that can be declined is;
 * - `access_denied`: everything is;
 * - `other_account`: the user `somebody-else` signs in;
 * - `wrong_issuer`: the answer says that it is another server's.
 */
export type AuthorizationFault = EndpointFault | 'partial_consent' | 'access_denied' | 'other_account' | 'wrong_issuer'

/** A fault of every request; or those of the next requests, one each, after which all is well. See {@link Faults}. */
export type Next<Fault> = Fault | readonly (Fault | undefined)[] | undefined

/**
 * Faults by endpoint. A single one holds until it is set to `undefined`, a list for as many requests as it is long.
 *
 * @example
 * ```ts
 * import { startAuthorizationServer } from 'fastify-oauth2client/testing'
 *
 * const server = await startAuthorizationServer()
 * server.faults.token = '503'
 * // every request to the token endpoint fails …
 * server.faults.token = undefined
 * server.faults.token = ['lost_answer']
 * // … only the next one fails …
 * server.faults.token = ['500', '500', 'slow']
 * // … two fail, the third takes its time
 * ```
 */
export interface Faults {
  /** Authorization requests of browsers. */
  authorization?: Next<AuthorizationFault>
  /** Requests to the token endpoint. */
  token?: Next<TokenFault>
  /** Used up by the next request to the token endpoint, and stronger than `token`. */
  tokenOnce?: TokenFault | undefined
  /** The metadata. `wrong_issuer`: it is that of another server. */
  discovery?: Next<EndpointFault | 'wrong_issuer'>
  /** The keys. */
  jwks?: Next<EndpointFault>
  /** Requests to the revocation endpoint. */
  revocation?: Next<EndpointFault>
  /** Requests to the userinfo endpoint. */
  userinfo?: Next<EndpointFault>
  /** Every resource of `api`. */
  api?: Next<EndpointFault>
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
