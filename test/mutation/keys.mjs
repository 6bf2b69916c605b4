/**
 * Made ready before each test file: RSA keys from a ring. Every scripted provider makes a key of its own, which takes half a
 * second, and a mutant runs dozens of such tests. No two of the last twelve are the same, so another provider's key stays another one.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const file = new URL('./keys.json', import.meta.url)
const { subtle } = globalThis.crypto
const generate = subtle.generateKey.bind(subtle)

if (!existsSync(file)) {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  }
  const pairs = await Promise.all(Array.from({ length: 12 }, () => generate(algorithm, true, ['sign', 'verify'])))
  writeFileSync(
    file,
    JSON.stringify(
      await Promise.all(
        pairs.map(async (pair) => [
          await subtle.exportKey('jwk', pair.privateKey),
          await subtle.exportKey('jwk', pair.publicKey),
        ]),
      ),
    ),
  )
}
const ring = JSON.parse(readFileSync(file, 'utf8'))
let next = 0

if (!subtle.fromRing) {
  subtle.fromRing = true
  subtle.generateKey = async (algorithm, extractable, usages) => {
    if (algorithm.name !== 'RSASSA-PKCS1-v1_5' || algorithm.modulusLength !== 2048)
      return generate(algorithm, extractable, usages)
    const [privateKey, publicKey] = ring[next++ % ring.length]
    const kind = { name: algorithm.name, hash: 'SHA-256' }
    return {
      privateKey: await subtle.importKey('jwk', privateKey, kind, extractable, ['sign']),
      publicKey: await subtle.importKey('jwk', publicKey, kind, true, ['verify']),
    }
  }
}
