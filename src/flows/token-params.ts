/** What token requests have in common besides their grant. RFC 6749 section 3.3, RFC 8707, RFC 8693 section 2.1. */
import { OptionError } from '../errors.js'
import type { DPoPKey } from '../provider/dpop.js'
import { parseScopes } from '../provider/scopes.js'

/**
 * What a token is asked for, and where it is to be used. For {@link clientCredentialsGrant}, and part of what
 * {@link tokenExchangeGrant} and {@link jwtBearerGrant} take.
 */
export interface TokenParams {
  /** Default: none are named, and the server decides. RFC 6749 section 3.3. */
  readonly scopes?: readonly string[]
  /** URIs of the APIs that the token is for, where the server knows resource indicators. RFC 8707. */
  readonly resource?: string | readonly string[]
  /** Logical names of the APIs that the token is for. RFC 8693 section 2.1. */
  readonly audience?: string | readonly string[]
  /** The key to bind the token to. Default: a new one, with the provider's `dpop`. RFC 9449. */
  readonly dpopKey?: DPoPKey | undefined
  /** Further fields of the form. Those of the grant and of client authentication cannot be overridden. */
  readonly params?: Readonly<Record<string, string>>
}

/** Fields that belong to a grant or to client authentication; nobody else's value may take their place. */
const RESERVED = new Set([
  'actor_token',
  'actor_token_type',
  'assertion',
  'audience',
  'client_assertion',
  'client_assertion_type',
  'client_id',
  'client_secret',
  'code',
  'code_verifier',
  'device_code',
  'grant_type',
  'redirect_uri',
  'refresh_token',
  'requested_token_type',
  'resource',
  'scope',
  'subject_token',
  'subject_token_type',
])

/**
 * The form of a token request.
 *
 * @param own fields of the grant
 * @throws {OptionError}
 */
export function tokenForm(
  { scopes, resource = [], audience = [], params = {} }: TokenParams,
  own: Readonly<Record<string, string>> = {},
): URLSearchParams {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (RESERVED.has(name)) throw new OptionError('params', `may not set "${name}".`)
    if (typeof value !== 'string') throw new OptionError('params', `"${name}" must be a string.`)
    form.set(name, value)
  }
  const scope = parseScopes(scopes).join(' ')
  if (scope) form.set('scope', scope)
  for (const uri of list('resource', resource)) {
    // RFC 8707 section 2.
    if (!URL.canParse(uri) || uri.includes('#')) throw new OptionError('resource', 'must be absolute URIs without "#".')
    form.append('resource', uri)
  }
  for (const name of list('audience', audience)) form.append('audience', name)
  for (const [name, value] of Object.entries(own)) form.set(name, value)
  return form
}

/** @throws {OptionError} for anything but a token that could be sent */
export function required(option: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new OptionError(option, 'must be a non-empty string.')
}

function list(option: string, value: string | readonly string[]): readonly string[] {
  return (Array.isArray(value) ? value : [value]).map((item) => required(option, item))
}
