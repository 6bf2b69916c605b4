/** Clients that show a certificate, and tokens that are bound to it, on real TLS. RFC 8705. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import * as oidc from 'oidc-provider'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CredentialManager, Credentials } from '../../src/credentials/index.js'
import {
  clientCredentialsGrant,
  deviceAuthorization,
  introspectToken,
  Provider,
  revokeToken,
} from '../../src/flows/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { type Certificate, type Certificates, hasOpenssl, makeCertificates } from '../helpers/certificates.js'

describe.skipIf(!process.env.CI && !hasOpenssl)('client certificates', () => {
  let certificates: Certificates
  let issuer: string
  let mtls: string
  const servers: Server[] = []
  const agents: Agent[] = []
  /** Host and path of what was asked. */
  const asked: string[] = []

  const peerOf = ({ socket }: { socket: unknown }) => (socket as TLSSocket).getPeerX509Certificate?.()

  async function listen(requestCert: boolean): Promise<Server> {
    const { ca, server } = certificates
    const https = createServer({ ...server, ca, requestCert, rejectUnauthorized: false })
    https.listen(0, '127.0.0.1')
    await once(https, 'listening')
    servers.push(https)
    return https
  }

  const originOf = (server: Server) => `https://localhost:${(server.address() as AddressInfo).port}`

  beforeAll(async () => {
    certificates = makeCertificates()
    const [plain, mutual] = [await listen(false), await listen(true)]
    ;[issuer, mtls] = [originOf(plain), originOf(mutual)]
    const { privateKey } = await generateKeyPair('RS256', { extractable: true })
    const x5c = [certificates.selfSigned.cert.replace(/-----.*-----|\s/g, '')]
    const shared = {
      grant_types: ['client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: [],
      response_types: [],
      tls_client_certificate_bound_access_tokens: true,
    }
    const provider = new oidc.Provider(issuer, {
      clients: [
        {
          ...shared,
          client_id: 'of-an-authority',
          token_endpoint_auth_method: 'tls_client_auth',
          tls_client_auth_subject_dn: 'CN=a-client',
        },
        {
          ...shared,
          client_id: 'self-signed',
          token_endpoint_auth_method: 'self_signed_tls_client_auth',
          jwks: { keys: [{ ...(await selfSignedJwk()), x5c }] },
        },
        {
          ...shared,
          client_id: 'with-a-secret',
          client_secret: 'a-secret-that-is-long-enough',
          token_endpoint_auth_method: 'client_secret_post',
        },
      ] as oidc.ClientMetadata[],
      clientAuthMethods: ['tls_client_auth', 'self_signed_tls_client_auth', 'client_secret_post'],
      discovery: {
        mtls_endpoint_aliases: {
          token_endpoint: `${mtls}/token`,
          introspection_endpoint: `${mtls}/token/introspection`,
          revocation_endpoint: `${mtls}/token/revocation`,
          device_authorization_endpoint: `${mtls}/device/auth`,
        },
      },
      features: {
        clientCredentials: { enabled: true },
        deviceFlow: { enabled: true },
        devInteractions: { enabled: false },
        introspection: { enabled: true },
        revocation: { enabled: true },
        mTLS: {
          enabled: true,
          certificateBoundAccessTokens: true,
          selfSignedTlsClientAuth: true,
          tlsClientAuth: true,
          getCertificate: (ctx) => peerOf(ctx.req)?.toString(),
          certificateAuthorized: (ctx) => (ctx.socket as TLSSocket).authorized,
          certificateSubjectMatches: (ctx, _property, expected) => peerOf(ctx.req)?.subject === expected,
        },
      },
      jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig', alg: 'RS256' }] },
    } satisfies oidc.Configuration)
    provider.silent = true
    const answer = provider.callback()
    for (const server of servers) {
      server.on('request', async (req, res) => {
        asked.push(`https://${req.headers.host}${req.url}`)
        if (req.url !== '/api/things') return answer(req, res)
        const token = await provider.ClientCredentials.find(String(req.headers.authorization?.slice(7)))
        const bound = (token as { 'x5t#S256'?: string } | undefined)?.['x5t#S256']
        const shown = peerOf(req)?.fingerprint256.replaceAll(':', '')
        const thumbprint = shown && Buffer.from(shown, 'hex').toString('base64url')
        const right = bound !== undefined && bound === thumbprint
        res.writeHead(right ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify({ bound }))
      })
    }
  })

  afterAll(async () => {
    await Promise.all(agents.map((agent) => agent.destroy()))
    for (const server of servers) {
      server.close()
      server.closeAllConnections()
    }
  })

  async function selfSignedJwk(): Promise<JWK> {
    return new X509Certificate(certificates.selfSigned.cert).publicKey.export({ format: 'jwk' }) as JWK
  }

  /** A `fetch` that shows a certificate to whoever asks for one. */
  function fetchWith(shown?: Certificate): typeof fetch {
    const { ca } = certificates
    const dispatcher = new Agent({ connect: { ca, ...(shown ? { key: shown.key, cert: shown.cert } : {}) } })
    agents.push(dispatcher)
    return ((input: string, init: object) => undiciFetch(input, { ...init, dispatcher })) as unknown as typeof fetch
  }

  test.each([
    ['tls_client_auth', 'of-an-authority', 'client'],
    ['self_signed_tls_client_auth', 'self-signed', 'selfSigned'],
  ] as const)(
    '%s: every endpoint under the name that asks for certificates',
    async (clientAuthentication, clientId, name) => {
      const certificate = certificates[name]
      const provider = new Provider({
        provider: { issuer },
        clientId,
        clientAuthentication,
        fetch: fetchWith(certificate),
      })
      asked.length = 0
      const { accessToken } = await clientCredentialsGrant(provider)
      const { raw } = await introspectToken(provider, accessToken)
      expect(raw.cnf).toEqual({ 'x5t#S256': certificate.thumbprint })
      expect(await revokeToken(provider, accessToken, 'access_token')).toBe('revoked')
      await deviceAuthorization(provider)
      expect(asked).toEqual([
        `${issuer}/.well-known/openid-configuration`,
        `${mtls}/token`,
        `${mtls}/token/introspection`,
        `${mtls}/token/revocation`,
        `${mtls}/device/auth`,
      ])
    },
  )

  test('L6: a certificate of somebody else, or none, is refused', async () => {
    for (const certificate of [certificates.another, certificates.selfSigned, undefined]) {
      const provider = new Provider({
        provider: { issuer },
        clientId: 'of-an-authority',
        clientAuthentication: 'tls_client_auth',
        fetch: fetchWith(certificate),
      })
      await expect(clientCredentialsGrant(provider)).rejects.toMatchObject({ kind: 'client' })
    }
  })

  test('L6: a token that is bound to a certificate is a 401 for whoever shows another one', async () => {
    const options = {
      provider: { issuer },
      clientId: 'with-a-secret',
      clientSecret: 'a-secret-that-is-long-enough',
      certificateBoundTokens: true,
      allowedOrigins: [mtls],
      storage: memoryStore(),
      encryptionKeys: 'a key that is long enough for everybody',
    }
    const manager = new CredentialManager({ ...options, fetch: fetchWith(certificates.client) })
    const provider = new Provider({ ...options, fetch: fetchWith(certificates.client) })
    asked.length = 0
    await (await manager.user('a-service')).adopt(
      Credentials.fromTokenSet(provider, await clientCredentialsGrant(provider)),
    )
    expect(asked.at(-1)).toBe(`${mtls}/token`)
    const call = async (fetch: typeof globalThis.fetch) => {
      const other = new CredentialManager({ ...options, fetch })
      return (await (await other.user('a-service')).fetch(`${mtls}/api/things`)).json().catch(() => undefined)
    }
    expect(await (await (await manager.user('a-service')).fetch(`${mtls}/api/things`)).json()).toEqual({
      bound: certificates.client.thumbprint,
    })
    await expect(call(fetchWith(certificates.another))).rejects.toMatchObject({
      code: 'FST_OAUTH2_CREDENTIALS_REQUIRED',
    })
    await expect(call(fetchWith())).rejects.toMatchObject({ code: 'FST_OAUTH2_CREDENTIALS_REQUIRED' })
  })

  test('a client without certificates is sent to the usual endpoints', async () => {
    const provider = new Provider({
      provider: { issuer },
      clientId: 'with-a-secret',
      clientSecret: 'a-secret-that-is-long-enough',
      fetch: fetchWith(),
    })
    asked.length = 0
    await clientCredentialsGrant(provider).catch(() => {})
    expect(asked.at(-1)).toBe(`${issuer}/token`)
  })

  test('an alias that is not HTTPS is no endpoint', async () => {
    const metadata = {
      issuer: 'https://login.example.com',
      authorization_endpoint: 'https://login.example.com/authorize',
      token_endpoint: 'https://login.example.com/token',
      mtls_endpoint_aliases: { token_endpoint: 'http://mtls.example.com/token' },
    }
    const provider = new Provider({ provider: metadata, clientId: 'id', clientAuthentication: 'tls_client_auth' })
    await expect(provider.configuration()).rejects.toMatchObject({ code: 'FST_OAUTH2_PROVIDER_METADATA' })
  })
})
