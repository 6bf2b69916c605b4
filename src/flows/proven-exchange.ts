/** Token requests that prove the possession of a key. RFC 9449 sections 5 and 8. */
import type { JWK } from 'jose'
import type { Configuration, CryptoKeyPair, DPoPHandle } from 'openid-client'
import { OptionError } from '../errors.js'
import { type DPoPKey, isDPoPKey } from '../provider/dpop.js'
import { type Exchange, startDeadline } from '../provider/http.js'
import { jose, openidClient } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'

/** The key that was kept, or a new one where the provider's tokens are to be bound to one. */
export async function dpopKeyFor(provider: Provider, kept?: DPoPKey): Promise<DPoPKey | undefined> {
  if (kept !== undefined && !isDPoPKey(kept)) throw new OptionError('dpopKey', 'must be a key that a flow gave.')
  const { dpop_signing_alg_values_supported: supported } = await provider.metadata()
  return kept ?? provider.dpop.newKey(supported)
}

/**
 * The same as `provider.exchange`, with proofs. A server that only wants its nonce in the proof has not looked at anything
 * else: it is asked once more, with a request that is made anew, because an assertion of the client is good for one. Both
 * requests have one deadline, so that nobody takes a refresh token for abandoned while the second is on its way.
 */
export async function provenExchange<T>(
  provider: Provider,
  key: DPoPKey | undefined,
  exchange: Exchange,
  request: (configuration: Configuration) => Promise<T>,
): Promise<T> {
  if (!key) return provider.exchange(exchange, request)
  let nonce: string | undefined
  const deadline = startDeadline(provider.timeout)
  const proven = Object.assign(exchange, {
    signal: exchange.signal ? AbortSignal.any([exchange.signal, deadline.signal]) : deadline.signal,
    proofs: {
      sign: (url: string) => provider.dpop.proof(key, { url, method: 'POST', nonce }),
      note: (url: string, headers: Headers) => {
        nonce = provider.dpop.noteNonce('token', url, headers)
      },
    },
  })
  return provider
    .exchange(proven, async (configuration) => {
      try {
        return await request(configuration)
      } catch (error) {
        const { status = 500, body } = exchange
        if (nonce === undefined || status >= 500 || body?.error !== 'use_dpop_nonce') throw error
        return request(configuration)
      }
    })
    .finally(deadline.end)
}

/** What the protocol library needs to send a token that is bound to a key. */
export async function dpopHandle(provider: Provider, configuration: Configuration, key: DPoPKey): Promise<DPoPHandle> {
  const client = await openidClient()
  const { importJWK } = await jose()
  const { d: _, ...publicKey } = key
  const [privateKey, shown] = await Promise.all([importJWK(key as JWK), importJWK(publicKey as JWK, key.alg)])
  const keys = { privateKey, publicKey: shown } as CryptoKeyPair
  return client.getDPoPHandle(configuration, keys, {
    [client.modifyAssertion]: (header, payload) => {
      header.alg = key.alg
      payload.iat = Math.floor(provider.clock() / 1000)
    },
  })
}
