/**
 * The protocol without Fastify: one function for each grant, and what verifies tokens.
 *
 * @module
 */
export type { Claims } from '../credentials/record.js'
export type { SignInRequirements } from '../provider/authentication.js'
export type { ClientAuthentication } from '../provider/client-authentication.js'
export type { DPoPAlgorithm, DPoPKey, DPoPOption, DPoPProofRequest } from '../provider/dpop.js'
export { type FailureKind, ProviderFailure } from '../provider/failure.js'
export type { ProviderOptions } from '../provider/preset.js'
export type { ProfileOptions, ResponseMode } from '../provider/profile.js'
export type { ProviderConfig } from '../provider/provider.js'
export { Provider } from '../provider/provider.js'
export type { SigningKey } from '../provider/signing-key.js'
export {
  type AuthorizationRequest,
  type AuthorizationUrlOptions,
  authorizationCodeGrant,
  authorizationUrl,
  type ObtainedCode,
} from './authorization-code.js'
export { clientCredentialsGrant } from './client-credentials.js'
export { type ClientSecrets, type ClientSecretsCache, loadClientSecrets, parseClientSecrets } from './client-secrets.js'
export { DeviceAuthorization, type DeviceAuthorizationFields, deviceAuthorization } from './device-authorization.js'
export { type DeviceGrantOptions, type DevicePoll, deviceAuthorizationGrant } from './device-grant.js'
export { type EndSessionOptions, endSessionUrl } from './end-session.js'
export { introspectToken, type TokenIntrospection } from './introspection.js'
export { type AssertionOptions, type JwtBearerOptions, jwtBearerGrant } from './jwt-bearer.js'
export { refreshTokenGrant } from './refresh-token.js'
export { type RevocationOutcome, revokeToken } from './revocation.js'
export { type TokenExchangeOptions, tokenExchangeGrant, tokenTypes } from './token-exchange.js'
export type { TokenParams } from './token-params.js'
export type { TokenSet } from './token-set.js'
export { type IdTokenClaims, type VerifyIdTokenOptions, verifyIdToken } from './verify-id-token.js'
export { type LogoutTokenClaims, verifyLogoutToken } from './verify-logout-token.js'
