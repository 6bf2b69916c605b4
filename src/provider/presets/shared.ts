/** What several presets need. */
import { OptionError } from '../../errors.js'
import type { IdentityContext, RotationProfile } from '../preset.js'

/** What all presets take. See {@link google}, {@link github}. */
export interface PresetOptions {
  /** Another place with this provider's behaviour: an enterprise installation, a test server. Everything moves there. */
  readonly issuer?: string
}

/** Options of presets for providers that are configured by whoever runs them. See {@link keycloak}, {@link okta}. */
export interface IssuerOptions {
  /** Exactly as its metadata says it. */
  readonly issuer: string
  /**
   * What happens to a refresh token that is used, as the provider is configured. Default `'strict'`, which is safe whatever
   * the configuration; `'none'` lets a refresh be repeated at once after a lost answer.
   */
  readonly rotation?: RotationProfile['rotation']
}

/**
 * The origin of a configured issuer, which access tokens may be sent to.
 *
 * @throws {OptionError}
 */
export function originOf(issuer: string): string {
  if (typeof issuer === 'string' && URL.canParse(issuer)) return new URL(issuer).origin
  throw new OptionError('provider.issuer', 'must be an absolute URL, such as "https://login.example.com".')
}

/** An issuer as endpoints are appended to it. */
export function base(issuer: string): string {
  return issuer.replace(/\/+$/, '')
}

/**
 * Asks an API with the access token.
 *
 * @throws for anything but a JSON object with a status of success; the message holds nothing of the answer
 */
export async function getJson(
  { fetch, accessToken }: Pick<IdentityContext, 'fetch' | 'accessToken'>,
  url: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method,
    headers: { accept: 'application/json', authorization: `Bearer ${accessToken}`, ...headers },
  })
  const body: unknown = response.ok ? await response.json() : undefined
  if (!isObject(body)) throw new TypeError(`${new URL(url).pathname} answered ${response.status}`)
  return body
}

/** An id as a string, whether it is written as one or as a number. */
export function idOf(value: unknown): string {
  if ((typeof value === 'string' && value !== '') || Number.isSafeInteger(value)) return String(value)
  throw new TypeError('the answer names nobody')
}

/** A member that is only there if it has a value. */
export function optional<N extends string>(name: N, value: unknown): { readonly [K in N]?: string } {
  return typeof value === 'string' && value !== '' ? ({ [name]: value } as { [K in N]: string }) : {}
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An answer without the members that say nothing: `null` is how some providers leave one out. */
export function withoutNulls(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
}
