/** The protocol without Fastify. */

export { type FailureKind, ProviderFailure } from '../provider/failure.js'
export type { ClientAuthentication, ProviderConfig } from '../provider/provider.js'
export { Provider } from '../provider/provider.js'
export {
  type AuthorizationRequest,
  type AuthorizationUrlOptions,
  authorizationCodeGrant,
  authorizationUrl,
  type ObtainedCode,
} from './authorization-code.js'
export { type ClientSecrets, type ClientSecretsCache, loadClientSecrets, parseClientSecrets } from './client-secrets.js'
export { refreshTokenGrant } from './refresh-token.js'
export { type RevocationOutcome, revokeToken } from './revocation.js'
export type { TokenSet } from './token-set.js'
