import type { Fetch } from '../http.js'
import type { IdentityContext, ProviderOptions } from '../preset.js'
import { base, getJson, idOf, optional, originOf, type PresetOptions } from './shared.js'

const ISSUER = 'https://github.com/login/oauth'
const PATH = '/login/oauth'

type Call = Pick<IdentityContext, 'accessToken' | 'fetch'>

/**
 * GitHub, for OAuth apps (tokens that never expire) and GitHub Apps (eight hours, with refresh tokens of which each works
 * once; for those, set `scopes: []`). Errors come with HTTP 200, scopes separated by commas. There is no ID token: the
 * person is the `id` of `/user`, since a login name can be given away. Revoking deletes the app's authorization.
 *
 * @param options.issuer of GitHub Enterprise Server, such as `https://github.example.com`; or `https://example.ghe.com`
 * @example
 * ```ts
 * import { github } from 'fastify-oauth2client/providers'
 *
 * const provider = github()
 * const enterprise = github({ issuer: 'https://github.example.com' })
 * ```
 */
export function github({ issuer = ISSUER }: PresetOptions = {}): ProviderOptions {
  const host = base(issuer).replace(/\/login\/oauth$/, '')
  const api = apiOf(host)
  // Written down: there is no OpenID Connect discovery for OAuth apps. The ID tokens that GitHub's metadata is about are
  // those of its build jobs.
  return {
    issuer,
    authorization_endpoint: `${host}${PATH}/authorize`,
    token_endpoint: `${host}${PATH}/access_token`,
    apiOrigins: [originOf(api)],
    // Answers name the issuer with the path (RFC 9207), whichever way it was configured.
    validIssuer: (name) => name === host + PATH,
    scopes: { implies: IMPLIES },
    offline: {},
    refresh: { rotation: 'rotating' },
    async identity({ accessToken, fetch }) {
      const call = { accessToken, fetch: atApi(fetch, host, api) }
      const { id, login, name, avatar_url, email } = await getJson(call, `${api}/user`)
      const claims = { ...optional('login', login), ...optional('name', name), ...optional('picture', avatar_url) }
      const address = typeof email === 'string' ? email : await primaryAddress(call, `${api}/user/emails`)
      return { id: idOf(id), ...optional('email', address), claims }
    },
    async revoke({ accessToken, clientId, clientSecret, fetch }) {
      const { status } = await atApi(
        fetch,
        host,
        api,
      )(`${api}/applications/${encodeURIComponent(clientId)}/grant`, {
        method: 'DELETE',
        headers: {
          accept: 'application/vnd.github+json',
          authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret ?? ''}`).toString('base64')}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ access_token: accessToken }),
      })
      // 404 is what a token gets that is none.
      return status === 204 || status === 404
    },
  }
}

/** Servers that imitate GitHub have its API at the root, as its own API host does, where an enterprise server has a path. */
function atApi(fetch: Fetch, host: string, api: string): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init)
    const path = `${host}/api/v3`
    return response.status === 404 && api === path ? fetch(String(url).replace(path, host), init) : response
  }
}

function apiOf(host: string): string {
  const { protocol, hostname } = new URL(originOf(host))
  if (hostname === 'github.com') return 'https://api.github.com'
  return hostname.endsWith('.ghe.com') ? `${protocol}//api.${hostname}` : `${host}/api/v3`
}

/** The address that the profile hides, if the scope `user:email` was granted. */
async function primaryAddress({ accessToken, fetch }: Call, url: string): Promise<unknown> {
  const headers = { accept: 'application/json', authorization: `Bearer ${accessToken}` }
  try {
    const list: unknown = await (await fetch(url, { headers })).json()
    return Array.isArray(list)
      ? list.find((entry) => entry?.primary === true && entry.verified === true)?.email
      : undefined
  } catch {
    // Who it is, is known; an address for display is not worth a failed sign-in.
    return undefined
  }
}

/** What an answer leaves out because something larger was granted. */
const IMPLIES = {
  repo: ['repo:status', 'repo_deployment', 'public_repo', 'repo:invite', 'security_events'],
  user: ['read:user', 'user:email', 'user:follow'],
  'admin:org': ['write:org', 'manage_runners:org'],
  'write:org': ['read:org'],
  'admin:public_key': ['write:public_key'],
  'write:public_key': ['read:public_key'],
  'admin:gpg_key': ['write:gpg_key'],
  'write:gpg_key': ['read:gpg_key'],
  'admin:repo_hook': ['write:repo_hook'],
  'write:repo_hook': ['read:repo_hook'],
  'write:packages': ['read:packages'],
  'write:discussion': ['read:discussion'],
  project: ['read:project'],
}
