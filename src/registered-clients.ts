/** What an app tells TypeScript about its clients. Types only: nothing here is there when it runs. */
import type { ScopeInput } from './provider/scopes.js'

/**
 * The clients of an app and the scopes that it asks of each, for an app to declare. Without a declaration, every name and every
 * scope is taken.
 *
 * @example
 * ```ts
 * import 'fastify-oauth2client'
 *
 * declare module 'fastify-oauth2client' {
 *   interface RegisteredClients {
 *     oauth2: 'files.read' | 'calendar.read' // registered without a name
 *     crm: 'deals.read' | 'deals.write' // registered as `name: 'crm'`
 *     mail: string // any scope
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: apps fill it
export interface RegisteredClients {}

/** Scopes that OpenID Connect Core defines, in sections 3.1.2.1, 5.4 and 11: nobody has to declare those in {@link RegisteredClients}. */
export type StandardScope = 'openid' | 'profile' | 'email' | 'address' | 'phone' | 'offline_access'

/** The name of a client: one of {@link RegisteredClients} or `'oauth2'`, and any where none is declared. */
export type ClientName = [keyof RegisteredClients] extends [never] ? string : keyof RegisteredClients | 'oauth2'

/** The scopes of a client: any, unless {@link RegisteredClients} says which. */
export type ScopeOf<Name extends string> = Name extends keyof RegisteredClients
  ? RegisteredClients[Name] | StandardScope
  : string

/** Scopes of a client, as a person may write them. Where {@link RegisteredClients} declares them, a text holds one of them. */
export type ScopesOf<Name extends string> = ScopeInput<ScopeOf<Name>>

/** `T`, with a `Key` that can be left out only for the client of the default name. */
export type Named<Name extends string, Key extends string, T> = T &
  ('oauth2' extends Name ? unknown : { readonly [K in Key]: Name })
