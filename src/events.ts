/**
 * What is told to whoever watches: the app's `onCredentialsChanged`, and channels of `node:diagnostics_channel` for
 * monitoring. No message holds a token, a code or an answer of a provider.
 */
import { channel } from 'node:diagnostics_channel'
import type { ReauthorizationReason } from './credentials/record.js'
import type { RevocationOutcome } from './flows/revocation.js'

/** What happened to stored credentials. It is in a {@link CredentialsChanged}. */
export type CredentialsChange = 'authorized' | 'refreshed' | 'needs_reauthorization' | 'revoked'

/**
 * A change of stored credentials, for `onCredentialsChanged`.
 *
 * @example
 * ```ts
 * import type { CredentialsChanged } from 'fastify-oauth2client'
 *
 * const unusable = new Set<string>()
 *
 * function onCredentialsChanged({ user, change }: CredentialsChanged): void {
 *   if (change === 'needs_reauthorization') unusable.add(user)
 *   else unusable.delete(user)
 * }
 * ```
 */
export interface CredentialsChanged {
  /** Name of the registration. */
  readonly client: string
  /** The key that they are stored under; with `storage: 'session'`, an opaque name of the session's copy. */
  readonly user: string
  /** The identity at the provider, where it is known. */
  readonly account: string | undefined
  /** What happened. */
  readonly change: CredentialsChange
  /** Why only a person can help, with `needs_reauthorization`. */
  readonly reason?: ReauthorizationReason
  /** What the provider said, with `revoked`. */
  readonly remote?: RevocationOutcome
  /** What is granted now; for `revoked`, what was. */
  readonly scopes: readonly string[]
}

/** What every message says about whose credentials it is about. */
interface Subject {
  readonly client: string
  readonly user: string
  readonly account: string | undefined
}

/**
 * The messages of each channel. Subscribe with the prefix `fastify-oauth2client:`.
 *
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 * import type { DiagnosticsMessages } from 'fastify-oauth2client'
 *
 * subscribe('fastify-oauth2client:refresh-failed', (message) => {
 *   const { client, code } = message as DiagnosticsMessages['refresh-failed']
 *   console.warn(`a refresh of ${client} failed: ${code}`)
 * })
 * ```
 */
export interface DiagnosticsMessages {
  /** A person granted something, or credentials were adopted. */
  readonly authorized: Subject & { readonly scopes: readonly string[] }
  /** A new access token was fetched and stored. */
  readonly refreshed: Subject & { readonly scopes: readonly string[] }
  /** A refresh brought no new token. `reason` is there when only a person can help now. */
  readonly 'refresh-failed': Subject & { readonly code: string; readonly reason?: ReauthorizationReason }
  /** A grant was removed from the store, and what the provider said to that. */
  readonly revoked: Subject & { readonly remote: RevocationOutcome }
  /** Browsers of a user were signed out: by the provider's back channel, or by `signOutEverywhere`. What is stored stays. */
  readonly 'signed-out': { readonly client: string; readonly user: string; readonly by: 'provider' | 'everywhere' }
  /** A guard did not let a request pass. `route` is the pattern, not the URL. */
  readonly 'guard-refused': {
    readonly client: string
    readonly user: string | undefined
    readonly code: string
    readonly route: string | undefined
  }
  /** Many grants died within a short time, which points to us or to the provider rather than to people. */
  readonly 'grants-dying': { readonly client: string; readonly count: number; readonly seconds: number }
}

const CHANNELS = {
  authorized: channel('fastify-oauth2client:authorized'),
  refreshed: channel('fastify-oauth2client:refreshed'),
  'refresh-failed': channel('fastify-oauth2client:refresh-failed'),
  revoked: channel('fastify-oauth2client:revoked'),
  'signed-out': channel('fastify-oauth2client:signed-out'),
  'guard-refused': channel('fastify-oauth2client:guard-refused'),
  'grants-dying': channel('fastify-oauth2client:grants-dying'),
}

/** Tells subscribers. Costs next to nothing without any: the message is not even made. */
export function publish<Name extends keyof DiagnosticsMessages>(
  name: Name,
  message: () => DiagnosticsMessages[Name],
): void {
  const target = CHANNELS[name]
  if (target.hasSubscribers) target.publish(message())
}
