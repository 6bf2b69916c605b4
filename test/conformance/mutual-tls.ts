/** A client that shows a certificate, at a server that serves its back channel under a name that asks for one. RFC 8705. */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Agent, fetch as undiciFetch } from 'undici'
import { onTestFinished } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { makeCertificates } from '../helpers/certificates.js'
import { type BankOptions, UNSIGNED } from './fapi.js'

/** @param method how the client says who it is; its tokens are bound to the certificate either way */
export async function mutualTls(
  client: Partial<OAuth2ClientOptions>,
  method: 'private_key_jwt' | 'tls_client_auth',
): Promise<BankOptions & { withoutCertificate: typeof fetch }> {
  const { ca, server: own, client: shown } = makeCertificates()
  const peer = (socket: unknown) => (socket as TLSSocket).getPeerX509Certificate?.()
  const fetchOver = (connect: NonNullable<Agent.Options['connect']>) => {
    const dispatcher = new Agent({ connect })
    onTestFinished(() => dispatcher.destroy())
    return ((input: string, init: object) => undiciFetch(input, { ...init, dispatcher })) as unknown as typeof fetch
  }
  let mtls = ''
  return {
    client: { dpop: false, certificateBoundTokens: true, ...client },
    fetch: fetchOver({ ca, key: shown.key, cert: shown.cert }),
    withoutCertificate: fetchOver({ ca }),
    registration: {
      ...UNSIGNED.registration,
      tls_client_certificate_bound_access_tokens: true,
      token_endpoint_auth_method: method,
      ...(method === 'tls_client_auth' && {
        tls_client_auth_subject_dn: 'CN=a-client',
        token_endpoint_auth_signing_alg: undefined,
      }),
    },
    server: async ({ handle }) => {
      const https = createServer({ ...own, ca, requestCert: true, rejectUnauthorized: false }, handle)
      https.listen(0, '127.0.0.1')
      await once(https, 'listening')
      onTestFinished(() => {
        https.closeAllConnections()
        https.close()
      })
      mtls = `https://localhost:${(https.address() as AddressInfo).port}`
      return {
        clientAuthMethods: ['private_key_jwt', 'tls_client_auth'],
        discovery: {
          mtls_endpoint_aliases: {
            token_endpoint: `${mtls}/token`,
            pushed_authorization_request_endpoint: `${mtls}/request`,
            userinfo_endpoint: `${mtls}/me`,
          },
        },
        features: {
          ...UNSIGNED.features,
          mTLS: {
            enabled: true,
            certificateBoundAccessTokens: true,
            tlsClientAuth: true,
            getCertificate: ({ req }) => peer(req.socket)?.toString(),
            certificateAuthorized: ({ socket }) => (socket as TLSSocket).authorized,
            certificateSubjectMatches: ({ req }, _property, expected) => peer(req.socket)?.subject === expected,
          },
        },
      }
    },
    api: () => `${mtls}/me`,
  }
}
