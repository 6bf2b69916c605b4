/** How lasting access is asked for, which means a refresh token. */
import type { Provider } from '../provider/provider.js'

export interface OfflineAccess {
  /** To be asked for besides the others. */
  readonly scopes: readonly string[]
  readonly params?: Readonly<Record<string, string>>
  readonly prompt?: string
}

/**
 * As the preset says, or with the scope `offline_access` where the metadata lists it. OpenID Connect Core section 11 wants
 * `prompt=consent` with that.
 *
 * @param scopes what is asked for anyway
 */
export async function offlineAccess(provider: Provider, scopes: readonly string[]): Promise<OfflineAccess> {
  const { offline } = provider.options
  if (offline)
    return { scopes: offline.scope ? [offline.scope] : [], ...(offline.params ? { params: offline.params } : {}) }
  const { scopes_supported: supported } = await provider.metadata()
  const wanted = supported?.includes('offline_access') || scopes.includes('offline_access')
  return wanted ? { scopes: ['offline_access'], prompt: 'consent' } : { scopes: [] }
}
