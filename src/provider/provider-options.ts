/** What is written about a provider: which of it is metadata, and whether it can mean anything. Called by `provider.ts`. */
import { OptionError } from '../errors.js'
import { isSecureUrl } from './http.js'
import type { ProviderMetadata, ProviderOptions, RotationProfile } from './preset.js'

export const ENDPOINTS = [
  'authorization_endpoint',
  'token_endpoint',
  'jwks_uri',
  'userinfo_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'end_session_endpoint',
  'device_authorization_endpoint',
  'pushed_authorization_request_endpoint',
] as const

/** Members of a provider that are ours; all others are metadata, which RFC 8414 spells in lower case. */
const OWN = [
  'scopes',
  'apiOrigins',
  'defaultScopes',
  'identityScopes',
  'scopeParam',
  'scopeDelimiter',
  'authorizationParams',
  'incrementalParams',
  'offline',
  'refresh',
  'clientAuthentication',
  'requestBody',
  'validIssuer',
  'identity',
  'issuerAliases',
  'introspect',
  'tokenClaims',
  'normalizeTokenResponse',
  'errors',
  'revoke',
]

/** What of it is metadata. */
export function staticMetadata(options: ProviderOptions): ProviderMetadata {
  const metadata = Object.entries(options).filter(([name]) => !OWN.includes(name))
  return Object.fromEntries(metadata) as unknown as ProviderMetadata
}

/** @throws {OptionError} for what can never work */
export function checkProvider(provider: ProviderOptions): void {
  checkNames(provider)
  checkRefresh(provider.refresh)
  checkEndpoint('provider.issuer', provider.issuer)
  for (const name of ENDPOINTS) {
    const value = provider[name]
    if (value !== undefined) checkEndpoint(`provider.${name}`, value)
  }
  if (!provider.authorization_endpoint !== !provider.token_endpoint) {
    throw new OptionError('provider', 'needs both authorization_endpoint and token_endpoint, or neither for discovery.')
  }
}

function checkNames(provider: ProviderOptions): void {
  for (const name of Object.keys(provider)) {
    if (OWN.includes(name) || /^[a-z\d_]+$/.test(name)) continue
    const spelled = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const known = (ENDPOINTS as readonly string[]).includes(spelled)
    const all = `is not known. Known are metadata as RFC 8414 spells them, and: ${OWN.join(', ')}.`
    throw new OptionError(`provider.${name}`, known ? `is called "${spelled}".` : all)
  }
}

function checkRefresh({ rotation = 'strict', grace = 0 }: Partial<RotationProfile> = {}): void {
  if (!ROTATIONS.includes(rotation)) {
    throw new OptionError('provider.refresh.rotation', `must be one of ${ROTATIONS.map((r) => `"${r}"`).join(', ')}.`)
  }
  if (!(Number.isFinite(grace) && grace >= 0)) {
    throw new OptionError('provider.refresh.grace', 'must be a number of seconds.')
  }
}

const ROTATIONS: readonly RotationProfile['rotation'][] = ['none', 'rotating', 'strict']

function checkEndpoint(option: string, value: unknown): void {
  if (typeof value !== 'string' || !URL.canParse(value)) {
    throw new OptionError(option, 'must be an absolute URL, such as "https://login.example.com".')
  }
  const url = new URL(value)
  if (!isSecureUrl(url)) {
    throw new OptionError(option, `must use https (http only on localhost): ${url.origin}`)
  }
}
