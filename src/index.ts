/**
 * The plugin, its guards, its errors and all public types.
 *
 * @module
 */
export type { AccessToken, TokenSource } from './credentials/authorized-fetch.js'
export { type ApiChallenge, challengeFrom } from './credentials/challenge-from.js'
export type { ConnectedAccount } from './credentials/connected-account.js'
export { Credentials, type CredentialsFields } from './credentials/credentials.js'
export { CredentialManager, type CredentialManagerOptions } from './credentials/manager.js'
export type { Claims, ReauthorizationReason } from './credentials/record.js'
export type { AccountStatus } from './credentials/refresh/state.js'
export type { DeletedUser, DeleteUserOptions } from './credentials/upkeep/delete-user.js'
export type { SweepOptions, SweepReport } from './credentials/upkeep/sweep.js'
export type { Revoked, UserOAuth2 } from './credentials/user.js'
export * from './errors.js'
export type { CredentialsChange, CredentialsChanged, DiagnosticsMessages } from './events.js'
export type { EndSessionOptions } from './flows/end-session.js'
export type { RevocationOutcome } from './flows/revocation.js'
export type { DeclaredGuardOptions, GuardConfig } from './guards/declared.js'
export { type Guard, type GuardOptions, oauthAware, requireOAuth, verifyOAuth } from './guards/require-oauth.js'
export { handleAuthorize, handleCallback, handleConfirm, handleResume } from './handlers.js'
export type { ClientHealth, HealthOptions } from './health/health.js'
export type { Authorized, OAuth2ClientOptions, ProviderLogout } from './options.js'
export {
  default,
  default as fastifyOAuth2Client,
  deleteUser,
  type OAuth2Client,
} from './plugin.js'
export type { SignInRequirements } from './provider/authentication.js'
export type { ClientAuthentication } from './provider/client-authentication.js'
export type { DPoPAlgorithm, DPoPKey, DPoPOption, DPoPProofRequest } from './provider/dpop.js'
export type {
  IdentityContext,
  ProviderIdentity,
  ProviderMetadata,
  ProviderOptions,
  RevocationContext,
  RotationProfile,
  ScopeRules,
} from './provider/preset.js'
export type { ProfileOptions, ResponseMode } from './provider/profile.js'
export type { ScopeInput } from './provider/scopes.js'
export type { SigningKey } from './provider/signing-key.js'
export type { ClientName, RegisteredClients, ScopeOf, ScopesOf, StandardScope } from './registered-clients.js'
export type { RegistrationOptions } from './registration/registration.js'
export type { AuthorizeUrlOptions, RequestOAuth2 } from './request.js'
export { callbackRouteOptions } from './routes/register.js'
export type { CredentialLock, CredentialStore, SerializedCredentials, StoredCredentials } from './storage/storage.js'
export type { Telemetry, Watch } from './telemetry/watch.js'
