/** Whether a provider answers, asked in a way that has no effect there. */
import { discover } from './discovery.js'
import type { Provider } from './provider.js'
import { staticMetadata } from './provider-options.js'

/** @returns `unchecked` where there is nothing to ask for @throws when it does not answer, or not with what was asked for */
export async function askProvider(provider: Provider): Promise<'ok' | 'unchecked'> {
  const known = provider.isKnown
  const { jwks_uri: uri } = await provider.metadata()
  if (uri !== undefined) {
    const response = await provider.boundedFetch(uri, { headers: { accept: 'application/json' } })
    if (response.status !== 200) throw new TypeError(`HTTP ${response.status}`)
    return 'ok'
  }
  const written = staticMetadata(provider.options)
  if (written.token_endpoint) return 'unchecked'
  // What was looked up just now need not be looked up again.
  if (known) await discover(provider, written)
  return 'ok'
}
