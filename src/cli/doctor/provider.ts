/** What can be told of a provider by asking it: discovery, endpoints, keys, TLS and the time. */
import { once } from 'node:events'
import { connect } from 'node:tls'
import type { ProviderMetadata } from '../../provider/preset.js'
import { CLOCK_TOLERANCE, type Provider } from '../../provider/provider.js'
import { bad, type Finding, messageOf, ok, warn } from './finding.js'

const DAY = 86_400_000
/** Milliseconds for one question. */
const PATIENCE = 10_000

export async function checkProvider(provider: Provider): Promise<Finding[]> {
  let metadata: ProviderMetadata
  try {
    metadata = await provider.metadata()
  } catch (error) {
    return [bad('provider', `${provider.issuer}: ${messageOf(error)}.${cure(error)}`)]
  }
  const looked = provider.options.token_endpoint ? 'endpoints as configured' : 'discovery works'
  const findings = [ok('provider', `${metadata.issuer}: ${looked}`), ...endpoints(metadata)]
  findings.push(...(await checkKeys(metadata)), ...(await checkTls(metadata)), await checkClock(metadata))
  return findings
}

function endpoints(metadata: ProviderMetadata): Finding[] {
  const methods = metadata.code_challenge_methods_supported
  const findings = [
    methods?.includes('S256')
      ? ok('PKCE', 'S256')
      : warn(
          'PKCE',
          'the metadata does not say so; S256 is sent all the same, and servers that do not know it ignore it.',
        ),
  ]
  if (!metadata.revocation_endpoint) {
    findings.push(warn('revocation', 'the provider cannot be told: revoke() removes what is stored here only.'))
  }
  if (!metadata.authorization_response_iss_parameter_supported) {
    findings.push(
      warn(
        'issuer check',
        'the provider does not say who answers (RFC 9207): use one callback path for each provider.',
      ),
    )
  }
  return findings
}

async function checkKeys({ jwks_uri: uri, issuer }: ProviderMetadata): Promise<Finding[]> {
  if (uri === undefined) return [warn('ID tokens', `${issuer} names no jwks_uri: take "openid" out of scopes.`)]
  try {
    const { keys } = (await (await ask(uri)).json()) as { keys?: unknown }
    const count = Array.isArray(keys) ? keys.length : 0
    return [count > 0 ? ok('ID tokens', `${count} keys at ${uri}`) : bad('ID tokens', `${uri} has no keys.`)]
  } catch (error) {
    return [bad('ID tokens', `${uri}: ${messageOf(error)}.${cure(error)}`)]
  }
}

async function checkTls({ issuer }: ProviderMetadata): Promise<Finding[]> {
  const { protocol, hostname, port } = new URL(issuer)
  if (protocol !== 'https:') return [warn('TLS', `${issuer} is plain HTTP, which is for this machine only.`)]
  const socket = connect({ host: hostname, port: Number(port) || 443, servername: hostname })
  socket.setTimeout(PATIENCE, () => socket.destroy(new Error('no answer')))
  try {
    await once(socket, 'secureConnect')
    const left = Math.floor((Date.parse(socket.getPeerCertificate().valid_to) - Date.now()) / DAY)
    const until = `the certificate is good for ${left} more days`
    return [
      left < 7 ? warn('TLS', `${until}: its owner should renew it.`) : ok('TLS', `${socket.getProtocol()}, ${until}`),
    ]
  } catch (error) {
    return [bad('TLS', `${hostname}: ${messageOf(error)}.${cure(error)}`)]
  } finally {
    socket.destroy()
  }
}

/** ID tokens of a provider whose clock is ahead are refused, and so are ours for a clock that is behind. */
async function checkClock({ jwks_uri, token_endpoint, issuer }: ProviderMetadata): Promise<Finding> {
  const check = 'clock'
  try {
    const { headers } = await ask(jwks_uri ?? token_endpoint ?? issuer)
    const theirs = Date.parse(headers.get('date') ?? '')
    if (Number.isNaN(theirs)) return warn(check, 'the provider does not say what time it is.')
    // Their date has whole seconds.
    const seconds = Math.round((Date.now() - theirs - 500) / 1000)
    const away = `${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the provider's`
    if (Math.abs(seconds) <= 5) return ok(check, `within 5 s of the provider's`)
    const text = `this machine's is ${away}: synchronize it (NTP).`
    return Math.abs(seconds) > CLOCK_TOLERANCE ? bad(check, `${text} ID tokens are refused.`) : warn(check, text)
  } catch (error) {
    return warn(check, `could not be compared: ${messageOf(error)}.`)
  }
}

function ask(url: string): Promise<Response> {
  return fetch(url, {
    redirect: 'manual',
    signal: AbortSignal.timeout(PATIENCE),
    headers: { accept: 'application/json' },
  })
}

const CURES: readonly [RegExp, string][] = [
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|self.signed|unable to (verify|get)/i,
    'If your network has a certificate of its own, set NODE_EXTRA_CA_CERTS to its file.',
  ],
  [
    /CERT_HAS_EXPIRED|certificate has expired/,
    'The certificate of the server has expired, or the clock of this machine is wrong.',
  ],
  [/ALTNAME_INVALID|altnames/, 'The certificate belongs to another host name: correct the issuer.'],
  [/ENOTFOUND|EAI_AGAIN/, 'The host name is not known: correct the issuer, or look at DNS and proxy settings.'],
  [
    /ECONNREFUSED|ECONNRESET|EHOSTUNREACH|TIMEOUT/i,
    'The host does not answer: look at the port, the firewall and proxy settings.',
  ],
]

/** What to do about an error of the network. */
export function cure(error: unknown): string {
  for (let e = error; e instanceof Error; e = e.cause) {
    const said = `${(e as { code?: unknown }).code ?? ''} ${e.message}`
    const found = CURES.find(([pattern]) => pattern.test(said))
    if (found) return ` ${found[1]}`
  }
  return ''
}
