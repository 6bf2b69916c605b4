/** Credentials without Fastify: the value, its one owner, and scopes. */
export { parseScopes, type ScopeInput } from '../provider/scopes.js'
export type { AccessToken, TokenSource } from './authorized-fetch.js'
export { Credentials, type CredentialsFields } from './credentials.js'
export { CredentialManager, type CredentialManagerOptions, type CredentialsChange } from './manager.js'
