import { OptionError } from '../../errors.js'
import type { ProviderOptions } from '../preset.js'
import { base, originOf, type PresetOptions } from './shared.js'

const AUTHORITY = 'https://login.microsoftonline.com'
const GRAPH = 'https://graph.microsoft.com'
/** The tenant that all personal accounts are in. */
const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad'
const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** Options of {@link microsoft}. */
export interface MicrosoftOptions extends PresetOptions {
  /**
   * Who may sign in: the id or a domain of one tenant, `'organizations'` (work and school accounts), `'consumers'` (personal
   * accounts) or `'common'` (both). Default `'common'`.
   */
  readonly tenant?: string
}

/**
 * Microsoft Entra ID: OpenID Connect by discovery. An ID token's issuer holds the id of the person's tenant; it is checked
 * against the tenants that may sign in, and so is the key that signed it. Scopes of Microsoft Graph compare with and without
 * its address, in any case. Ask for the scopes of one API at a time. Nothing can be revoked.
 *
 * @param options.issuer of another cloud, such as `https://login.microsoftonline.us/common/v2.0`
 * @throws {OptionError} for a `tenant` that is none
 * @example
 * ```ts
 * import { microsoft } from 'fastify-oauth2client/providers'
 *
 * const anybody = microsoft()
 * const employees = microsoft({ tenant: 'contoso.onmicrosoft.com' })
 * ```
 */
export function microsoft({ tenant = 'common', issuer: given }: MicrosoftOptions = {}): ProviderOptions {
  if (!/^[\w.-]+$/.test(tenant)) {
    throw new OptionError('tenant', 'must be a tenant\'s id or domain, "common", "organizations" or "consumers".')
  }
  const issuer = given ?? `${AUTHORITY}/${tenant}/v2.0`
  const authority = base(issuer).replace(/\/[^/]+\/v2\.0$/, '')
  // Discovery: endpoints differ between tenants and clouds, and keys for all tenants are published with it.
  return {
    issuer,
    apiOrigins: [given === undefined ? GRAPH : originOf(issuer)],
    validIssuer: tenants(authority, tenant),
    scopes: {
      aliases: (scope) => scope.replace(/^https:\/\/graph\.microsoft\.(?:com|us)\//i, '').toLowerCase(),
      implies: IMPLIES,
      // Answers list the scopes of the API that the access token is for.
      unreported: ['openid', 'profile', 'email', 'offline_access', '.default'],
    },
    // Consent is not asked for again: a refresh token comes with every authorization that has the scope.
    offline: { scope: 'offline_access' },
    // Each use gives a new one, and the old ones go on working.
    refresh: { rotation: 'none' },
    // Only a person can pass a policy that has changed.
    errors: {
      interaction_required: 'invalid_grant',
      login_required: 'invalid_grant',
      consent_required: 'invalid_grant',
    },
  }
}

/** Which issuers there may be behind the one that is configured. */
function tenants(authority: string, tenant: string): (issuer: string) => boolean {
  const id = tenant === 'consumers' ? PERSONAL : tenant.toLowerCase()
  return (issuer) => {
    if (!issuer.startsWith(`${authority}/`) || !issuer.endsWith('/v2.0')) return false
    const found = issuer.slice(authority.length + 1, -'/v2.0'.length)
    if (GUID.test(id)) return found === id
    // Where a domain was configured, the metadata says whose it is, and ID tokens have to say the same.
    if (tenant !== 'common' && tenant !== 'organizations') return GUID.test(found)
    // Whoever changes the address of the sign-in page gets in with a personal account, unless it is refused here.
    return found === '{tenantid}' || (GUID.test(found) && (tenant === 'common' || found !== PERSONAL))
  }
}

const IMPLIES = {
  'user.readwrite': ['user.read'],
  'mail.readwrite': ['mail.read'],
  'mail.read': ['mail.readbasic'],
  'calendars.readwrite': ['calendars.read'],
  'contacts.readwrite': ['contacts.read'],
  'files.readwrite.all': ['files.readwrite', 'files.read.all'],
  'files.readwrite': ['files.read'],
  'files.read.all': ['files.read'],
  'tasks.readwrite': ['tasks.read'],
  'notes.readwrite': ['notes.read'],
}
