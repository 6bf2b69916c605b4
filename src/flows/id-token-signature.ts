/** Who made an ID token, and for which access token. OpenID Connect Core sections 3.1.3.7 and 3.1.3.8. */
import { createHash } from 'node:crypto'
import type { Claims } from '../credentials/record.js'
import { keySetOf, signatureAlgorithms } from '../provider/key-set.js'
import { jose } from '../provider/libraries.js'
import type { Provider } from '../provider/provider.js'

/**
 * Checks the signature of an ID token that the token endpoint answered with.
 *
 * @throws {ProviderUnavailableError} when there are no keys and none can be fetched; what `jose` throws where it is wrong
 */
export async function checkSignature(provider: Provider, idToken: string): Promise<void> {
  const { id_token_signing_alg_values_supported: supported } = await provider.metadata()
  const algorithms = signatureAlgorithms(supported)
  const { compactVerify } = await jose()
  await keySetOf(provider).verify('provider', (key) => compactVerify(idToken, key, { algorithms }))
}

/** Whether an ID token that names an access token by its hash names this one. OpenID Connect Core section 3.1.3.8. */
export async function isAboutToken(
  idToken: string,
  { at_hash: expected }: Claims,
  accessToken: string,
): Promise<boolean> {
  if (expected === undefined) return true
  const { decodeProtectedHeader } = await jose()
  const { alg = '' } = decodeProtectedHeader(idToken)
  // Ed25519 hashes with SHA-512 itself.
  const hash = createHash(`sha${/256$|384$/.exec(alg)?.[0] ?? '512'}`)
    .update(accessToken)
    .digest()
  return hash.subarray(0, hash.length / 2).toString('base64url') === expected
}
