/** What can be told to whoever watches a registration. What is told holds no user, no token, no scope and no URL with a query. */
import type { ReauthorizationReason } from '../credentials/record.js'

/** Whoever watches: a tracer, a meter, both. {@link openTelemetry} makes one; so can you, for anything else. */
export interface Telemetry {
  /**
   * Called once for each registration.
   *
   * @param client its name
   */
  watch(client: string): Watch
}

/**
 * Watches one registration. What runs is run at once, and what it resolves to or throws is passed on as it is.
 *
 * @example
 * ```ts
 * import type { Telemetry, Watch } from 'fastify-oauth2client/opentelemetry'
 *
 * const silent: Watch = {
 *   guard() {},
 *   signIn() {},
 *   refreshFailed() {},
 *   refresh: (run) => run(),
 *   callback: (run) => run(),
 *   store: (_call, run) => run(),
 *   request: (_request, run) => run(),
 * }
 *
 * export const refusals: Telemetry = {
 *   watch: (client) => ({
 *     ...silent,
 *     guard: (outcome, code) => outcome === 'refused' && console.warn(`${client} refused a request: ${code}`),
 *   }),
 * }
 * ```
 */
export interface Watch {
  /** A guard decided. Called for every guarded request, so it has to be quick. */
  guard(outcome: GuardOutcome, code?: string): void
  /** A person came back from the provider. `code`: why nothing came of it. */
  signIn(outcome: 'completed' | 'failed', code?: string): void
  /** A refresh brought no new token. `reason` is there when only a person can help now. */
  refreshFailed(code: string, reason?: ReauthorizationReason): void
  /** Everything it takes to have an access token that works; those who wait for the same one share it. */
  refresh<T>(run: () => Promise<T>): Promise<T>
  /** A request to the callback, up to what is stored. */
  callback<T>(run: () => Promise<T>): Promise<T>
  /** A call of the credential store. */
  store<T>(call: StoreCall, run: () => Promise<T>): Promise<T>
  /** A request to the provider. */
  request(request: ProviderRequest, run: () => Promise<Response>): Promise<Response>
}

/** What a guard tells a {@link Watch}. `redirected`: a person was sent to the provider, or to the app's own sign-in. */
export type GuardOutcome = 'allowed' | 'redirected' | 'refused'

/** A call of a credential store, as a {@link Watch} hears of it. */
export interface StoreCall {
  /** The method of the store. */
  readonly operation: 'get' | 'put' | 'delete' | 'lock'
  /** `name` of the store; `custom` where it has none. */
  readonly store: string
}

/** A request to a provider, as a {@link Watch} hears of it. */
export interface ProviderRequest {
  /** What it is asked for. */
  readonly endpoint: ProviderEndpoint
  /** With `token`. */
  readonly grantType?: string | undefined
  /** Of HTTP. */
  readonly method: string
  /** Host and port, without path and query. */
  readonly server: Pick<URL, 'hostname' | 'port' | 'protocol'>
}

/** What a provider is asked for, as a {@link Watch} hears of it. */
export type ProviderEndpoint =
  | 'discovery'
  | 'jwks'
  | 'token'
  | 'userinfo'
  | 'revocation'
  | 'introspection'
  | 'device_authorization'
  | 'pushed_authorization_request'
