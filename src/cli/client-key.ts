/** The client's private key on the command line: out of a file, or out of the environment, and never an argument. */
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { type SigningKey, signerOf } from '../provider/signing-key.js'
import type { Io } from './command.js'
import { bad, type Finding, messageOf, ok, warn } from './doctor/finding.js'

const DAY = 86_400_000
const VARIABLE = 'OAUTH2_CLIENT_KEY'
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/

/**
 * @param path a file with a PEM or a JWK in it. Default: what `OAUTH2_CLIENT_KEY` of the environment holds
 * @throws Error that says where it was looked for, and never what is in there
 */
export function readClientKey(path: string | undefined, { env }: Io): SigningKey | undefined {
  const text = path === undefined ? env[VARIABLE] : contentOf(path)
  if (!text && path === undefined) return undefined
  if (!text?.trimStart().startsWith('{')) return text
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`${path ?? VARIABLE} holds neither a PEM nor a JWK.`)
  }
}

/** What can be told of the key without asking anybody. */
export function checkClientKey(
  path: string | undefined,
  io: Io,
): { readonly findings: readonly Finding[]; readonly key?: SigningKey } {
  const check = 'client key'
  try {
    const key = readClientKey(path, io)
    if (key === undefined) return { findings: [] }
    const where = path ?? VARIABLE
    const { algorithms } = signerOf(key, undefined, { key: where, algorithm: where })
    const findings = [expiring(key, check, `${where} signs with ${algorithms.join(', ')}`)]
    if (path !== undefined && process.platform !== 'win32' && statSync(path).mode & 0o077) {
      findings.push(warn(check, `${path} can be read by other users of this machine: chmod 600 ${path}`))
    }
    return { findings, key }
  } catch (error) {
    return { findings: [bad(check, messageOf(error))] }
  }
}

/** A key has no end of its own: a certificate beside it has, and so has a JWK that says so. */
function expiring(key: SigningKey, check: string, text: string): Finding {
  const end = endOf(key)
  if (end === undefined || Number.isNaN(end)) return ok(check, text)
  const left = Math.floor((end - Date.now()) / DAY)
  const day = new Date(end).toISOString().slice(0, 10)
  if (left < 0) return bad(check, `${text}, and has expired on ${day}: register another one at the provider.`)
  const until = `${text}, until ${day}`
  return left < 14 ? warn(check, `${until}: register another one at the provider before that.`) : ok(check, until)
}

/** Milliseconds since the epoch. */
function endOf(key: SigningKey): number | undefined {
  if (typeof key === 'object') return 'exp' in key ? Number(key.exp) * 1000 : undefined
  const [certificate] = CERTIFICATE.exec(key.replaceAll('\\n', '\n')) ?? []
  return certificate === undefined ? undefined : Date.parse(new X509Certificate(certificate).validTo)
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as { code?: unknown }
    throw new Error(`the client key ${path} cannot be read: ${String(code)}`)
  }
}
