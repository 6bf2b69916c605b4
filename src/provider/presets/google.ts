import type { Fetch } from '../http.js'
import type { ProviderOptions } from '../preset.js'
import { originOf, type PresetOptions } from './shared.js'

const ISSUER = 'https://accounts.google.com'

/**
 * Google: OpenID Connect by discovery, incremental authorization through `include_granted_scopes`, lasting access through
 * `access_type=offline`, refresh tokens that do not rotate.
 *
 * @param options.issuer another place with Google's behaviour, such as a test server; API origins move there too
 * @example
 * ```ts
 * import { google } from 'fastify-oauth2client/providers'
 *
 * const provider = google()
 * ```
 */
export function google({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  return {
    issuer,
    apiOrigins: issuer === ISSUER ? ['https://*.googleapis.com'] : [originOf(issuer)],
    scopes: {
      // Google answers with the long form whichever was asked for.
      aliases: {
        'https://www.googleapis.com/auth/userinfo.email': 'email',
        'https://www.googleapis.com/auth/userinfo.profile': 'profile',
        'https://www.googleapis.com/auth/plus.me': 'profile',
      },
      implies: IMPLIES,
    },
    issuerAliases: issuer === ISSUER ? ['accounts.google.com'] : [],
    introspect: (context) => tokenInfo(context, issuer === ISSUER ? 'https://oauth2.googleapis.com' : issuer),
    incrementalParams: { include_granted_scopes: 'true' },
    offline: { params: { access_type: 'offline' } },
    refresh: { rotation: 'none' },
  }
}

const AUTH = 'https://www.googleapis.com/auth'

/** Whoever may change everything may read it too: pages that need less are not asked for again. */
const IMPLIES = {
  [`${AUTH}/drive`]: ['drive.readonly', 'drive.file', 'drive.metadata'].map((scope) => `${AUTH}/${scope}`),
  [`${AUTH}/drive.readonly`]: [`${AUTH}/drive.metadata.readonly`],
  [`${AUTH}/drive.metadata`]: [`${AUTH}/drive.metadata.readonly`],
  [`${AUTH}/calendar`]: [`${AUTH}/calendar.readonly`, `${AUTH}/calendar.events`],
  [`${AUTH}/calendar.readonly`]: [`${AUTH}/calendar.events.readonly`],
  [`${AUTH}/calendar.events`]: [`${AUTH}/calendar.events.readonly`],
  [`${AUTH}/spreadsheets`]: [`${AUTH}/spreadsheets.readonly`],
  [`${AUTH}/documents`]: [`${AUTH}/documents.readonly`],
  [`${AUTH}/contacts`]: [`${AUTH}/contacts.readonly`],
  [`${AUTH}/tasks`]: [`${AUTH}/tasks.readonly`],
  [`${AUTH}/gmail.modify`]: [`${AUTH}/gmail.readonly`, `${AUTH}/gmail.send`],
  'https://mail.google.com/': [`${AUTH}/gmail.modify`],
}

/** Whether an authorization or token endpoint, as client secrets files name them, is Google's. */
export function isGoogleEndpoint(endpoint: string): boolean {
  const { hostname } = new URL(endpoint)
  return hostname === 'accounts.google.com' || hostname === 'oauth2.googleapis.com' || hostname === 'www.googleapis.com'
}

/** Google's own way to ask about an access token. It is sent in a header, because addresses end up in logs. */
async function tokenInfo({ accessToken, fetch }: { accessToken: string; fetch: Fetch }, base: string) {
  const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/x-www-form-urlencoded' }
  const response = await fetch(`${base}/tokeninfo`, { method: 'POST', headers, body: '' })
  if (response.status === 400) return { active: false }
  if (response.status !== 200) throw new TypeError(`tokeninfo answered ${response.status}`)
  const { azp, ...info } = (await response.json()) as Record<string, unknown>
  return { active: true, client_id: azp ?? info.aud, ...info }
}
