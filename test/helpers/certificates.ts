/** Certificates made with openssl, for servers and clients that show them to each other. */
import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  readonly key: string
  readonly cert: string
  /** SHA-256 of the certificate in DER, base64url. RFC 8705 section 3.1. */
  readonly thumbprint: string
}

export interface Certificates {
  /** What both sides trust. */
  readonly ca: string
  /** Of `localhost`, signed by the authority. */
  readonly server: Certificate
  /** Named `a-client`, signed by the authority. */
  readonly client: Certificate
  /** Named `another`, signed by the authority. */
  readonly another: Certificate
  /** Signed by nobody else. */
  readonly selfSigned: Certificate
}

export const hasOpenssl = ((): boolean => {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }) !== ''
  } catch {
    return false
  }
})()

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'))
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const make = (name: string, ...args: string[]): Certificate => {
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    run('req', '-x509', ...fresh, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.crt`, ...args)
    const [key, cert] = ['key', 'crt'].map((ending) => readFileSync(join(folder, `${name}.${ending}`), 'utf8'))
    const { raw } = new X509Certificate(cert as string)
    return {
      key: key as string,
      cert: cert as string,
      thumbprint: createHash('sha256').update(raw).digest('base64url'),
    }
  }
  try {
    const { cert: ca } = make('authority')
    const signed = ['-CA', 'authority.crt', '-CAkey', 'authority.key', '-addext', 'basicConstraints=critical,CA:FALSE']
    return {
      ca,
      server: make('localhost', ...signed, '-addext', 'subjectAltName=DNS:localhost'),
      client: make('a-client', ...signed),
      another: make('another', ...signed),
      selfSigned: make('self-signed'),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
