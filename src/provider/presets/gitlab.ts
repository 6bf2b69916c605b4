import type { ProviderOptions } from '../preset.js'
import { originOf, type PresetOptions } from './shared.js'

/**
 * GitLab: OpenID Connect by discovery. Each refresh ends the refresh token and the access token from before at once, so that
 * requests under way may get a 401; `fetch` tries those again with the new one.
 *
 * @param options.issuer of a self-managed installation, such as `https://gitlab.example.com`
 * @example
 * ```ts
 * import { gitlab } from 'fastify-oauth2client/providers'
 *
 * const provider = gitlab({ issuer: 'https://gitlab.example.com' })
 * ```
 */
export function gitlab({ issuer = 'https://gitlab.com' }: PresetOptions = {}): ProviderOptions {
  // Discovery, because installations live under relative paths and know best where their endpoints are.
  return {
    issuer,
    apiOrigins: [originOf(issuer)],
    scopes: {
      implies: {
        api: ['read_api'],
        read_api: ['read_user'],
        write_repository: ['read_repository'],
      },
    },
    // Every authorization brings a refresh token.
    offline: {},
    // An old refresh token is refused, and what came after it stays alive.
    refresh: { rotation: 'rotating' },
  }
}
