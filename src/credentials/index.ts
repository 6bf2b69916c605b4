/** Credentials without Fastify: the value, its one owner, and scopes. */
export { parseScopes, type ScopeInput } from '../provider/scopes.js'
export type { AccessToken, TokenSource } from './authorized-fetch.js'
export { Credentials, type CredentialsFields } from './credentials.js'
export type { DeletedUser, DeleteUserOptions } from './delete-user.js'
export { CredentialManager, type CredentialManagerOptions } from './manager.js'
export type { SweepOptions, SweepReport } from './sweep.js'
export type { ConnectedAccount, Revoked, UserOAuth2 } from './user.js'
