/** The token exchange grant. RFC 8693. */
import { openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'
import { dpopKeyFor } from './proven-exchange.js'
import { required, type TokenParams, tokenForm } from './token-params.js'
import { requestTokens, type TokenSet } from './token-set.js'

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/**
 * What a token can be. RFC 8693 section 3; servers may know others.
 *
 * @example
 * ```ts
 * import { tokenExchangeGrant, tokenTypes, type Provider } from 'fastify-oauth2client/flows'
 *
 * async function fromIdToken(provider: Provider, idToken: string) {
 *   return tokenExchangeGrant(provider, { subjectToken: idToken, subjectTokenType: tokenTypes.idToken })
 * }
 * ```
 */
export const tokenTypes = {
  accessToken: 'urn:ietf:params:oauth:token-type:access_token',
  refreshToken: 'urn:ietf:params:oauth:token-type:refresh_token',
  idToken: 'urn:ietf:params:oauth:token-type:id_token',
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
  saml1: 'urn:ietf:params:oauth:token-type:saml1',
  saml2: 'urn:ietf:params:oauth:token-type:saml2',
} as const

/** What is exchanged for what. For {@link tokenExchangeGrant}. */
export interface TokenExchangeOptions extends TokenParams {
  /** Of whoever the new token is about. */
  readonly subjectToken: string
  /** Default `tokenTypes.accessToken`. */
  readonly subjectTokenType?: string
  /** Of whoever will act for them (delegation). Without it, the new token is simply theirs (impersonation). */
  readonly actorToken?: string
  /** Default `tokenTypes.accessToken`. */
  readonly actorTokenType?: string
  /** Default: what the server finds right. */
  readonly requestedTokenType?: string
}

/**
 * Exchanges a token for another one: for another API, with fewer scopes, in somebody's name. `issuedTokenType` says what
 * came; it is in `accessToken` whatever it is, and `tokenType` is `N_A` where it cannot be used as an access token.
 *
 * @throws {ProviderFailure}
 * @example
 * ```ts
 * import { type Provider, tokenExchangeGrant } from 'fastify-oauth2client/flows'
 *
 * async function forBackend(provider: Provider, received: string) {
 *   return tokenExchangeGrant(provider, { subjectToken: received, audience: 'backend', scopes: ['orders.read'] })
 * }
 * ```
 */
export async function tokenExchangeGrant(provider: Provider, options: TokenExchangeOptions): Promise<TokenSet> {
  const { subjectToken, subjectTokenType = tokenTypes.accessToken, actorToken } = options
  const { actorTokenType = tokenTypes.accessToken, requestedTokenType } = options
  const form = tokenForm(options, {
    subject_token: required('subjectToken', subjectToken),
    subject_token_type: required('subjectTokenType', subjectTokenType),
    ...(actorToken === undefined
      ? {}
      : {
          actor_token: required('actorToken', actorToken),
          actor_token_type: required('actorTokenType', actorTokenType),
        }),
    ...(requestedTokenType === undefined
      ? {}
      : { requested_token_type: required('requestedTokenType', requestedTokenType) }),
  })
  const client = await openidClient()
  return requestTokens(provider, (configuration) => client.genericGrantRequest(configuration, GRANT_TYPE, form), {
    tokenTypes: ['bearer', 'n_a'],
    dpopKey: await dpopKeyFor(provider, options.dpopKey),
  })
}
