/**
 * Credentials without Fastify: the value, its one owner, and scopes.
 *
 * @module
 */
export type { DPoPKey, DPoPProofRequest } from '../provider/dpop.js'
export { parseScopes, type ScopeInput } from '../provider/scopes.js'
export type { AccessToken, TokenSource } from './authorized-fetch.js'
export { type ApiChallenge, challengeFrom } from './challenge-from.js'
export type { ConnectedAccount } from './connected-account.js'
export { Credentials, type CredentialsFields } from './credentials.js'
export { CredentialManager, type CredentialManagerOptions } from './manager.js'
export type { DeletedUser, DeleteUserOptions } from './upkeep/delete-user.js'
export type { SweepOptions, SweepReport } from './upkeep/sweep.js'
export type { Revoked, UserOAuth2 } from './user.js'
