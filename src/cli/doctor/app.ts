/** What can be told of a running app by beginning to sign in: its redirect to the provider, and its session cookie. */
import { isLoopback } from '../../provider/http.js'
import type { ProviderMetadata } from '../../provider/preset.js'
import { bad, type Finding, messageOf, ok, unknown, warn } from './finding.js'

export interface RunningApp {
  readonly baseUrl: string
  readonly authorizePath: string
  /** As it should be. */
  readonly callback: string
  readonly clientId: string | undefined
  readonly metadata: ProviderMetadata | undefined
}

/** Begins an authorization as a browser would, and goes no further. */
export async function checkApp({
  baseUrl,
  authorizePath,
  callback,
  clientId,
  metadata,
}: RunningApp): Promise<Finding[]> {
  const url = baseUrl.replace(/\/+$/, '') + authorizePath
  const headers = {
    accept: 'text/html',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    'sec-fetch-site': 'none',
  }
  let answer: Answer
  try {
    answer = await get(url, headers)
  } catch (error) {
    return [unknown('app', `${url} does not answer (${messageOf(error)}): start the app to have it looked at.`)]
  }
  const { location } = answer
  if (answer.status !== 302 || !location || !URL.canParse(location)) {
    const [code] = /FST_OAUTH2_\w+/.exec(answer.body) ?? []
    const why = code ? `${code}: see docs/errors.md` : 'is the plugin registered, and the path right?'
    return [bad('app', `${url} answers ${answer.status} instead of a redirect to the provider; ${why}.`)]
  }
  const to = new URL(location)
  const findings = [ok('app', `${url} leads to ${to.origin}`)]
  const sent = to.searchParams.get('redirect_uri')
  if (sent !== callback)
    findings.push(bad('app', `it sends the redirect URI ${sent} instead of ${callback}: set "baseUrl".`))
  if (clientId !== undefined && to.searchParams.get('client_id') !== clientId) {
    findings.push(bad('app', `it runs with another client id than ${clientId}.`))
  }
  const endpoint = metadata?.authorization_endpoint
  if (endpoint !== undefined && new URL(endpoint).origin !== to.origin) {
    findings.push(bad('app', `it leads to ${to.origin} instead of ${new URL(endpoint).origin}: compare the provider.`))
  }
  return [...findings, ...checkCookies(answer.cookies, new URL(baseUrl))]
}

function checkCookies(lines: readonly string[], base: URL): Finding[] {
  const check = 'session cookie'
  const cookies = lines.filter((line) => !/^(__Host-)?oauth2client\./.test(line))
  if (cookies.length === 0) {
    return [
      bad(check, 'there is none, so the callback cannot be told from anybody else’s: register a session plugin first.'),
    ]
  }
  return cookies.flatMap((line) => {
    const [name = ''] = line.split('=')
    const has = (attribute: RegExp) =>
      line
        .split(';')
        .slice(1)
        .some((part) => attribute.test(part.trim()))
    const findings: Finding[] = []
    if (has(/^samesite=strict$/i)) {
      findings.push(bad(check, `${name} is SameSite=Strict and does not come back from the provider: sameSite: 'lax'.`))
    }
    if (has(/^secure$/i) && base.protocol === 'http:' && !isLoopback(base.hostname)) {
      findings.push(bad(check, `${name} is Secure and never comes back over plain HTTP: use https.`))
    }
    if (!has(/^secure$/i) && base.protocol === 'https:') {
      findings.push(warn(check, `${name} is not Secure: secure: 'auto', and trustProxy where a proxy ends TLS.`))
    }
    if (!has(/^httponly$/i)) findings.push(warn(check, `${name} can be read by scripts: httpOnly: true.`))
    if (has(/^samesite=none$/i)) findings.push(warn(check, `${name} is SameSite=None: sameSite: 'lax' is enough.`))
    return findings.length > 0 ? findings : [ok(check, name)]
  })
}

interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly cookies: readonly string[]
  readonly body: string
}

/** One request as it is written: the global `fetch` says of itself that it is no navigation, whatever it is told. */
async function get(url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const { get } = url.startsWith('https:') ? await import('node:https') : await import('node:http')
  return new Promise((resolve, reject) => {
    const request = get(url, { headers, agent: false, timeout: 10_000 }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        if (body.length < 100_000) body += chunk
      })
      response.on('error', reject).on('end', () => {
        const { location, 'set-cookie': cookies = [] } = response.headers
        resolve({ status: response.statusCode ?? 0, location, cookies, body })
      })
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s'))).on('error', reject)
  })
}
