/** How far a client goes to protect authorization requests and their answers. Each option stands for itself; together they are FAPI 2.0. */
import { OptionError, ProviderMetadataError } from '../errors.js'
import { ClientKey } from './client-key.js'
import { signatureAlgorithms } from './key-set.js'
import type { ProviderMetadata } from './preset.js'
import type { SigningKey } from './signing-key.js'

const MODES = ['query', 'form_post', 'query.jwt', 'form_post.jwt', 'jwt'] as const

/**
 * How the provider's answer comes back: in the URL or in a form, as it is or in a signed JWT. `jwt` is `query.jwt`, by the name
 * that more providers know. See {@link ProfileOptions}.
 */
export type ResponseMode = (typeof MODES)[number]

/**
 * Options for what goes beyond state, PKCE and nonce, which are always there. Together they are what FAPI 2.0 asks for.
 *
 * @example
 * ```ts
 * import { type ProfileOptions, Provider } from 'fastify-oauth2client/flows'
 *
 * const profile: ProfileOptions = {
 *   clientKey: process.env.CLIENT_KEY,
 *   pushedAuthorizationRequests: true,
 *   signedRequestObjects: true,
 *   responseMode: 'jwt',
 * }
 * const provider = new Provider({ provider: { issuer: 'https://bank.example' }, clientId: 'web', ...profile })
 * ```
 */
export interface ProfileOptions {
  /**
   * Our private key, whose public half the provider knows: PEM, JWK (with `kid` and `alg`, where it matters), `KeyObject` or
   * `CryptoKey`. For `clientAuthentication: 'private_key_jwt'`, the default with a key and no secret, and for
   * `signedRequestObjects`. RFC 7523 section 2.2.
   */
  readonly clientKey?: SigningKey | undefined
  /**
   * Sends the authorization request to the provider directly, and the person with a reference to it. Default: whether the
   * provider's metadata requires it. RFC 9126.
   */
  readonly pushedAuthorizationRequests?: boolean | undefined
  /** Signs authorization requests with `clientKey`. Default: whether the provider's metadata requires it. RFC 9101. */
  readonly signedRequestObjects?: boolean | undefined
  /** How the provider answers an authorization request. Default `'query'`. OAuth 2.0 Form Post Response Mode, JARM. */
  readonly responseMode?: ResponseMode | undefined
}

/** What answers are signed with, as far as they can be believed. JARM section 3. */
export function answerAlgorithms({ authorization_signing_alg_values_supported: listed }: ProviderMetadata): string[] {
  return signatureAlgorithms(listed)
}

/** Whether an answer in this mode is a signed JWT. */
export function isSigned(mode: ResponseMode | undefined): boolean {
  return mode?.endsWith('jwt') === true
}

/** Whether an answer in this mode is posted by the browser. */
export function isPosted(mode: ResponseMode | undefined): boolean {
  return mode?.startsWith('form_post') === true
}

export class Profile {
  readonly key: ClientKey | undefined
  /** Absent for the one that needs no word. */
  readonly responseMode: Exclude<ResponseMode, 'query'> | undefined
  readonly #pushed: boolean | undefined
  readonly #signed: boolean | undefined

  /** @throws {OptionError} */
  constructor(options: ProfileOptions, clock: () => number) {
    const { clientKey, pushedAuthorizationRequests, signedRequestObjects, responseMode = 'query' } = options
    for (const [name, value] of Object.entries({ pushedAuthorizationRequests, signedRequestObjects })) {
      if (value !== undefined && typeof value !== 'boolean') throw new OptionError(name, 'must be true or false.')
    }
    if (!MODES.includes(responseMode)) {
      throw new OptionError('responseMode', `must be one of ${MODES.map((mode) => `"${mode}"`).join(', ')}.`)
    }
    this.key = clientKey === undefined ? undefined : new ClientKey(clientKey, clock)
    if (signedRequestObjects && !this.key) {
      throw new OptionError('clientKey', 'is required for signedRequestObjects: the private key to sign with.')
    }
    this.responseMode = responseMode === 'query' ? undefined : responseMode
    this.#pushed = pushedAuthorizationRequests
    this.#signed = signedRequestObjects
  }

  /**
   * What is to become of an authorization request at this provider.
   *
   * @throws {ProviderMetadataError} when an option asks for what the provider says it does not do
   */
  at(metadata: ProviderMetadata): { readonly pushed: boolean; readonly signed: boolean } {
    const { issuer, response_modes_supported: modes } = metadata
    const pushed = this.#pushed ?? metadata.require_pushed_authorization_requests === true
    const signed = this.#signed ?? metadata.require_signed_request_object === true
    if (pushed && typeof metadata.pushed_authorization_request_endpoint !== 'string') {
      throw new ProviderMetadataError(
        `${issuer} names no pushed_authorization_request_endpoint, which the option pushedAuthorizationRequests needs. Write it into "provider", or leave the option out.`,
      )
    }
    if (signed) this.#checkSigning(metadata)
    const mode = this.responseMode
    if (mode && Array.isArray(modes) && !modes.includes(mode)) {
      throw new ProviderMetadataError(
        `${issuer} does not list "${mode}" (response_modes_supported), which the option responseMode asks for. Set another one, or leave it out.`,
      )
    }
    if (isSigned(mode) && (!metadata.jwks_uri || answerAlgorithms(metadata).length === 0)) {
      throw new ProviderMetadataError(
        `${issuer} names no ${metadata.jwks_uri ? 'asymmetric algorithm (authorization_signing_alg_values_supported)' : 'jwks_uri'}, which the option responseMode "${mode}" needs. Write it into "provider", or set a responseMode without "jwt".`,
      )
    }
    return { pushed, signed }
  }

  #checkSigning(metadata: ProviderMetadata): void {
    const { issuer } = metadata
    if (!this.key) {
      throw new ProviderMetadataError(
        `${issuer} requires signed request objects (require_signed_request_object), which needs the option clientKey.`,
      )
    }
    if (metadata.request_parameter_supported === false) {
      throw new ProviderMetadataError(
        `${issuer} takes no request objects (request_parameter_supported), which the option signedRequestObjects asks for. Leave it out.`,
      )
    }
    this.key.check(metadata, 'request_object_signing_alg_values_supported')
  }
}

/**
 * Whether the provider can tell us by our key.
 *
 * @throws {ProviderMetadataError}
 */
export function checkKeyAuthentication(key: ClientKey, metadata: ProviderMetadata): void {
  const { issuer, token_endpoint_auth_methods_supported: methods } = metadata
  if (Array.isArray(methods) && !methods.includes('private_key_jwt')) {
    throw new ProviderMetadataError(
      `${issuer} does not list "private_key_jwt" (token_endpoint_auth_methods_supported), which is how clientKey would be used. Set clientAuthentication.`,
    )
  }
  key.check(metadata, 'token_endpoint_auth_signing_alg_values_supported')
}
