/** What can be told of a client secrets file and of redirect URIs without asking anybody. */
import { stat } from 'node:fs/promises'
import { type ClientSecrets, loadClientSecrets } from '../../flows/client-secrets.js'
import { isLoopback, isSecureUrl } from '../../provider/http.js'
import { bad, type Finding, messageOf, ok, unknown, warn } from './finding.js'

export async function checkSecretsFile(
  path: string | undefined,
): Promise<{ findings: Finding[]; secrets: ClientSecrets | undefined }> {
  const check = 'client secrets'
  if (path === undefined)
    return { findings: [unknown(check, 'no file given: --client-secrets <file>')], secrets: undefined }
  let secrets: ClientSecrets
  try {
    secrets = loadClientSecrets(path)
  } catch (error) {
    return { findings: [bad(check, messageOf(error))], secrets: undefined }
  }
  const { type, clientId, clientSecret } = secrets
  const findings = [ok(check, `${path}: a client of type "${type}", ${clientId}`)]
  const { mode } = await stat(path)
  if (clientSecret !== undefined && type === 'web' && process.platform !== 'win32' && mode & 0o077) {
    findings.push(warn(check, `${path} can be read by other users of this machine: chmod 600 ${path}`))
  }
  return { findings, secrets }
}

/** @param callback the callback of the app, if it is known */
export function checkRedirects(secrets: ClientSecrets | undefined, callback: string | undefined): Finding[] {
  const check = 'redirect URI'
  const findings: Finding[] = []
  const registered = secrets?.redirectUris ?? []
  for (const uri of registered) {
    if (uri.startsWith('urn:ietf:wg:oauth:2.0:oob')) {
      findings.push(warn(check, `${uri} no longer works at Google. Remove it; programs use http://127.0.0.1/.`))
    } else if (!URL.canParse(uri) || !isSecureUrl(new URL(uri))) {
      findings.push(bad(check, `${uri} is neither https nor on this machine: register https://... instead.`))
    }
  }
  if (callback === undefined) {
    if (secrets?.type === 'web')
      findings.push(unknown(check, 'not known: write --base-url, as in the option "baseUrl".'))
    return findings
  }
  const url = new URL(callback)
  if (!isSecureUrl(url)) {
    findings.push(bad(check, `${callback} is plain HTTP: baseUrl must be https, except on localhost.`))
  } else if (!secrets || registered.length === 0) {
    findings.push(unknown(check, `${callback}: compare it with what is registered at the provider, letter by letter.`))
  } else if (registered.includes(callback) || (secrets.type === 'installed' && isLoopback(url.hostname))) {
    findings.push(ok(check, `${callback} is registered`))
  } else {
    const near = registered.find((uri) => closeTo(uri, callback))
    const hint = near ? ` ${near} is, which differs: compare letter by letter.` : ''
    findings.push(
      bad(check, `${callback} is not registered.${hint} Register it at the provider and download the file again.`),
    )
  }
  return findings
}

/** The same but for what people overlook: a slash at the end, the scheme, capitals, or another word for this machine. */
function closeTo(a: string, b: string): boolean {
  const plain = (uri: string) =>
    uri
      .toLowerCase()
      .replace(/^https?:\/\//, '')
      .replace(/^(127\.0\.0\.1|\[::1\])/, 'localhost')
      .replace(/^www\./, '')
      .replace(/\/+$/, '')
  return plain(a) === plain(b)
}
