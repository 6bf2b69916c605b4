/**
 * An OpenID provider that does the least that a client may rely on, in a process of its own and the same for all contenders: a
 * person is asked nothing. Refresh tokens are good for one use where `rotate` says so, and one that comes twice ends its family.
 * With `trusting` any refresh token is good, also one that it never issued.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { createServer } from 'node:http'

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

export async function start({ lifetime = 3_600, delay = 0, rotate = false, trusting = false } = {}) {
  const settings = { lifetime, delay, rotate, trusting }
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256', use: 'sig' }] }
  const header = encode({ alg: 'RS256', kid: 'k' })
  /** By code, and by refresh token. */
  const codes = new Map()
  const grants = new Map()
  const counts = { authorize: 0, token: 0, refresh: 0, refused: 0, other: 0 }
  let people = 0
  let url

  function idToken({ sub, nonce, client }) {
    const now = Math.floor(Date.now() / 1_000)
    const claims = { iss: url, aud: client, sub, email: `${sub}@example.com`, iat: now, exp: now + 300 }
    const text = `${header}.${encode(nonce === undefined ? claims : { ...claims, nonce })}`
    return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`
  }

  function tokens(family, withIdToken) {
    let refresh = family.current
    if (!refresh || settings.rotate) {
      if (refresh) grants.set(refresh, { family, used: true })
      refresh = randomBytes(24).toString('base64url')
      family.current = refresh
      grants.set(refresh, { family, used: false })
    }
    return {
      access_token: randomBytes(24).toString('base64url'),
      token_type: 'Bearer',
      expires_in: settings.lifetime,
      refresh_token: refresh,
      scope: 'openid email',
      ...(withIdToken ? { id_token: idToken(family) } : {}),
    }
  }

  const refused = { error: 'invalid_grant' }

  function grant(body) {
    if (body.get('grant_type') === 'authorization_code') {
      const code = codes.get(body.get('code'))
      codes.delete(body.get('code'))
      const verifier = body.get('code_verifier')
      const proven =
        !code?.challenge ||
        createHash('sha256')
          .update(verifier ?? '')
          .digest('base64url') === code.challenge
      return code && proven ? tokens(code, true) : refused
    }
    counts.refresh++
    if (settings.trusting) return tokens({ current: body.get('refresh_token') }, false)
    const known = grants.get(body.get('refresh_token'))
    if (!known || known.family.ended) return refused
    if (known.used) {
      known.family.ended = true
      return refused
    }
    return tokens(known.family, false)
  }

  async function answer(request, response) {
    const asked = new URL(request.url, url)
    const json = (status, value) => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      response.end(JSON.stringify(value))
    }
    switch (asked.pathname) {
      case '/authorize': {
        counts.authorize++
        const given = asked.searchParams
        const code = randomBytes(16).toString('base64url')
        codes.set(code, {
          sub: given.get('login_hint') ?? `user-${++people}`,
          nonce: given.get('nonce') ?? undefined,
          client: given.get('client_id'),
          challenge: given.get('code_challenge'),
        })
        const target = new URL(given.get('redirect_uri'))
        target.searchParams.set('code', code)
        if (given.has('state')) target.searchParams.set('state', given.get('state'))
        target.searchParams.set('iss', url)
        response.writeHead(302, { location: target.href })
        return response.end()
      }
      case '/token': {
        counts.token++
        const chunks = []
        for await (const chunk of request) chunks.push(chunk)
        const result = grant(new URLSearchParams(String(Buffer.concat(chunks))))
        if (result === refused) counts.refused++
        if (settings.delay > 0) await new Promise((resolve) => setTimeout(resolve, settings.delay))
        return json(result === refused ? 400 : 200, result)
      }
      case '/jwks':
        counts.other++
        return json(200, jwks)
      case '/.well-known/openid-configuration':
        counts.other++
        return json(200, {
          issuer: url,
          authorization_endpoint: `${url}/authorize`,
          token_endpoint: `${url}/token`,
          jwks_uri: `${url}/jwks`,
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256'],
          code_challenge_methods_supported: ['S256'],
          token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
          authorization_response_iss_parameter_supported: true,
        })
      default:
        return json(404, {})
    }
  }

  const server = createServer((request, response) => void answer(request, response))
  // A client that is busy elsewhere for some seconds must not find its connections closed.
  server.keepAliveTimeout = 600_000
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${server.address().port}`
  return {
    url,
    commands: {
      set: (change) => Object.assign(settings, change),
      counts: () => ({ ...counts }),
      reset() {
        for (const name of Object.keys(counts)) counts[name] = 0
      },
    },
  }
}
