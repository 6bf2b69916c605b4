/** Looks up a provider's metadata: OpenID Connect Discovery first, then RFC 8414. Called once by `provider.ts`. */
import { ProviderMetadataError, ProviderUnavailableError } from '../errors.js'
import { sanitizedCause } from './failure.js'
import type { ProviderMetadata } from './preset.js'
import type { Provider } from './provider.js'

const OIDC = '/.well-known/openid-configuration'
const OAUTH = '/.well-known/oauth-authorization-server'

/**
 * @param written metadata that is in the options
 * @throws {ProviderUnavailableError} when no metadata can be had at the moment
 * @throws {ProviderMetadataError} when it belongs to another issuer
 */
export async function discover(provider: Provider, written: Partial<ProviderMetadata>): Promise<ProviderMetadata> {
  const metadata = await lookUp(provider)
  // What is written in the options wins over what was looked up; who the provider is, it says itself.
  const set = Object.entries(written).filter(([, value]) => value !== undefined)
  return { ...metadata, ...Object.fromEntries(set), issuer: metadata.issuer }
}

async function lookUp(provider: Provider): Promise<ProviderMetadata> {
  const places = placesOf(provider.issuer)
  const tried: string[] = []
  for (const place of places) {
    const found = await ask(provider, place)
    if (typeof found === 'string') {
      tried.push(`${place.pathname}: ${found}`)
      continue
    }
    // Whoever writes down where the metadata is, trusts what is there.
    if (places.length > 1 && !provider.isIssuer(found.issuer)) throw anotherIssuer(provider, found.issuer)
    return found
  }
  throw new ProviderUnavailableError({ cause: new TypeError(`no metadata at ${tried.join('; ')}`) })
}

/**
 * Where OpenID Connect Discovery has it, then where RFC 8414 does, then where those are who took one for the other. All are of
 * this issuer, which the metadata has to name.
 */
function placesOf(issuer: string): URL[] {
  const { origin, pathname, search } = new URL(issuer)
  if (pathname.includes('/.well-known/')) return [new URL(issuer)]
  const path = pathname.replace(/\/$/, '')
  const all = [`${path}${OIDC}`, `${OAUTH}${path}`, `${OIDC}${path}`, `${path}${OAUTH}`]
  return [...new Set(all)].map((place) => new URL(origin + place + search))
}

/**
 * @returns what came in its place, where there is none
 * @throws {ProviderUnavailableError} when nobody knows, and when it is not said here
 */
async function ask(provider: Provider, place: URL): Promise<ProviderMetadata | string> {
  let response: Response
  let text: string
  try {
    response = await provider.boundedFetch(place, { headers: { accept: 'application/json' } })
    text = await response.text()
  } catch (error) {
    throw new ProviderUnavailableError({ cause: sanitizedCause(error) })
  }
  const { status } = response
  if (status !== 200) {
    const missing = status >= 400 && status < 500 && !LATER.has(status)
    if (missing) return `HTTP ${status}`
    throw new ProviderUnavailableError({ cause: new TypeError(`${place.pathname} answered HTTP ${status}`) })
  }
  // Pages that are shown for every address come with 200 too.
  const metadata = parse(text)
  return typeof metadata?.issuer === 'string' ? (metadata as ProviderMetadata) : 'no metadata'
}

/** Not now, rather than not here: RFC 9110 section 15.5.9, RFC 8470, RFC 6585 section 4. */
const LATER = new Set([408, 425, 429])

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function anotherIssuer({ issuer }: Provider, name: string): Error {
  const found = name.slice(0, 200)
  return new ProviderMetadataError(
    `the configured issuer is "${issuer}", but its metadata says "${found}". Configure exactly what it says, if you trust it.`,
  )
}
