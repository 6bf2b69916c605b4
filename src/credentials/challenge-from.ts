/** What an API wants when it refuses an access token. RFC 6750 section 3, RFC 9470 section 3; RFC 9110 section 11.6.1. */

/** The challenge of an API, as far as it can be acted on. What {@link challengeFrom} reads. */
export interface ApiChallenge {
  /**
   * `invalid_token`, `insufficient_scope` (RFC 6750), `insufficient_user_authentication` (RFC 9470), or a code of the API's own;
   * `undefined` when it only says that it wants a token.
   */
  readonly error: string | undefined
  /** Scopes that are needed. */
  readonly scopes: readonly string[]
  /** Classes of authentication, of which one is needed, the preferred one first. */
  readonly acrValues: readonly string[]
  /** Seconds that may have passed since the person signed in. */
  readonly maxAge: number | undefined
}

/** Characters. No challenge is longer, and whatever follows is not read. */
const LONGEST = 8_192
const PARAMETER = /([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y
const WORD = /[^\s,"]+/y
/** What RFC 6749 section 3.3 and RFC 6750 section 3 allow in scopes and error codes. */
const VALUE = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/**
 * Reads the `WWW-Authenticate` header of an API's answer: what would have to be granted, or how a person would have to sign in,
 * for the same request to succeed. Everything in it is the API's word: pass on only scopes that the app knows.
 *
 * @param response of `fetch`; its body is not touched
 * @returns `undefined` when there is no challenge for a Bearer or DPoP token
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { challengeFrom, requireOAuth } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.get('/files', { onRequest: requireOAuth() }, async (request, reply) => {
 *   const response = await request.oauth2.fetch('https://api.example.com/files')
 *   const challenge = challengeFrom(response)
 *   if (challenge?.error !== 'insufficient_scope') return response.json()
 *   return reply.redirect(await request.oauth2.authorizeUrl('/files', { scopes: challenge.scopes }))
 * })
 * ```
 */
export function challengeFrom(response: Pick<Response, 'headers'>): ApiChallenge | undefined {
  const challenges = parse((response.headers.get('www-authenticate') ?? '').slice(0, LONGEST))
  const found = challenges.find(({ error }) => error !== undefined) ?? challenges[0]
  if (!found) return undefined
  const { error, scope, acr_values, max_age } = found
  return {
    error: error !== undefined && VALUE.test(error) ? error : undefined,
    scopes: words(scope),
    acrValues: words(acr_values),
    maxAge: max_age !== undefined && /^\d{1,9}$/.test(max_age) ? Number(max_age) : undefined,
  }
}

type Parameters = Readonly<Record<string, string | undefined>>

/** The parameters of each challenge for a token. Whatever makes no sense is passed over. */
function parse(header: string): Parameters[] {
  const challenges: Parameters[] = []
  let current: Record<string, string> | undefined
  let afterScheme = false
  const match = (pattern: RegExp, at: number) => {
    pattern.lastIndex = at
    return pattern.exec(header)
  }
  for (let at = 0; at < header.length; ) {
    const separator = match(/[\s,]+/y, at)?.[0] ?? ''
    at += separator.length
    const parameter = match(PARAMETER, at)
    const found = parameter ?? match(WORD, at)
    if (parameter) {
      const [, name = '', quoted, plain] = parameter
      const key = name.toLowerCase()
      // Of what must not come twice, the first counts.
      if (current && !Object.hasOwn(current, key)) current[key] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? ''
      afterScheme = false
    } else if (found && !(afterScheme && !separator.includes(','))) {
      current = /^(bearer|dpop)$/i.test(found[0]) ? {} : undefined
      if (current) challenges.push(current)
      afterScheme = true
    }
    at += found?.[0].length ?? 1
  }
  return challenges
}

function words(text = ''): string[] {
  return text.split(' ').filter((word) => VALUE.test(word))
}
