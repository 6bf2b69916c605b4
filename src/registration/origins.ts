/** The option `allowedOrigins`: where an access token may be sent. */
import { OptionError } from '../errors.js'
import { isSecureUrl } from '../provider/http.js'
import type { ProviderOptions } from '../provider/preset.js'

/** @throws {OptionError} */
export function resolveOrigins(allowed: readonly string[] | undefined, provider: ProviderOptions): string[] {
  if (allowed !== undefined && !Array.isArray(allowed))
    throw new OptionError('allowedOrigins', 'must be an array of origins.')
  const list = [...(allowed ?? []), ...(provider.apiOrigins ?? []), new URL(provider.issuer).origin]
  return [...new Set(list.map(normalOrigin))]
}

/** The spelling that URLs are compared with: a capital letter or a default port would otherwise match nothing. */
function normalOrigin(origin: unknown): string {
  const text = String(origin)
  const wildcard = text.includes('//*.')
  const url = URL.canParse(text.replace('//*.', '//')) ? new URL(text.replace('//*.', '//')) : undefined
  const bare = url?.pathname === '/' && !url.search && !url.hash && !url.username && !url.hostname.includes('*')
  if (typeof origin !== 'string' || !url || !bare || !isSecureUrl(url)) {
    // What people paste may carry a password.
    const shown = text.replace(/\/\/.*@/, '//…@').slice(0, 80)
    throw new OptionError('allowedOrigins', `holds something that is not an https origin: ${shown}`)
  }
  return wildcard ? url.origin.replace('//', '//*.') : url.origin
}
