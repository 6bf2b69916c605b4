/** The client's private key: what it proves itself with, and what it signs its requests with. RFC 7523 section 2.2, RFC 9101. */
import type { ClientAuth, Configuration, ModifyAssertionOptions, PrivateKey } from 'openid-client'
import { OptionError, ProviderMetadataError } from '../errors.js'
import { jose, type OpenIdClient, openidClient } from './libraries.js'
import { type SigningKey, signerOf } from './signing-key.js'

/** What FAPI 2.0 allows, wherever a provider says that it takes it. */
const PREFERRED = ['PS256', 'ES256', 'EdDSA', 'Ed25519']

/** Seconds that what was signed is good for. */
const LIFETIME = 60
/** Seconds by which our clock may be ahead of a provider that takes nothing from the future. */
const AHEAD = 10

export class ClientKey {
  readonly #signer: ReturnType<typeof signerOf>
  readonly #clock: () => number
  readonly #imported = new Map<string, Promise<CryptoKey>>()

  /** @throws {OptionError} when the key cannot be used */
  constructor(key: SigningKey, clock: () => number) {
    this.#signer = signerOf(key, undefined, { key: 'clientKey', algorithm: 'clientKey' })
    this.#clock = clock
  }

  /** `private_key_jwt`: a signed statement in the place of a secret, another one for each request. */
  readonly authenticate: ClientAuth = async (server, registration, body, headers) => {
    const algorithm = this.#algorithm(server.token_endpoint_auth_signing_alg_values_supported) as string
    const client = await openidClient()
    const sign = client.PrivateKeyJwt(await this.#key(algorithm), this.#shaped(client, algorithm))
    await sign(server, registration, body, headers)
  }

  /** @throws {OptionError} when a parameter that has to be JSON is none */
  async requestObject(configuration: Configuration, params: Readonly<Record<string, string>>): Promise<string> {
    const { request_object_signing_alg_values_supported: supported } = configuration.serverMetadata()
    const algorithm = this.#algorithm(supported) as string
    const key = await this.#key(algorithm)
    const client = await openidClient()
    const shaped = this.#shaped(client, algorithm)
    try {
      const url = await client.buildAuthorizationUrlWithJAR(configuration, { ...params }, key, shaped)
      return url.searchParams.get('request') as string
    } catch {
      throw new OptionError('authorizationParams', '"claims" and "authorization_details" must be JSON to be signed.')
    }
  }

  /** @throws {ProviderMetadataError} when the provider takes no signature of this key, by what a member of its metadata lists */
  check(metadata: Readonly<Record<string, unknown>>, member: string): void {
    if (this.#algorithm(metadata[member]) !== undefined) return
    const able = this.#signer.algorithms.join(', ')
    throw new ProviderMetadataError(
      `${metadata.issuer} lists none of ${able} (${member}), which is what the option clientKey can sign with. Use a key of another kind.`,
    )
  }

  #algorithm(supported: unknown): string | undefined {
    const { algorithm, algorithms } = this.#signer
    if (!Array.isArray(supported)) return algorithm
    return [...PREFERRED, ...algorithms].find((name) => algorithms.includes(name) && supported.includes(name))
  }

  async #key(algorithm: string): Promise<PrivateKey> {
    const { key, keyId } = this.#signer
    const { importPKCS8 } = await jose()
    const imported =
      this.#imported.get(algorithm) ?? importPKCS8(String(key.export({ type: 'pkcs8', format: 'pem' })), algorithm)
    this.#imported.set(algorithm, imported)
    return { key: await imported, ...(keyId === undefined ? {} : { kid: keyId }) }
  }

  /** By our own clock, and with the name of the algorithm that the provider lists: two of them mean the same. */
  #shaped(client: typeof OpenIdClient, algorithm: string): ModifyAssertionOptions {
    return {
      [client.modifyAssertion]: (header, payload) => {
        const iat = Math.floor(this.#clock() / 1000) - AHEAD
        header.alg = algorithm
        Object.assign(payload, { iat, nbf: iat, exp: iat + LIFETIME })
      },
    }
  }
}
