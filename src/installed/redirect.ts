/** Where the person comes back to on this machine: which address, which ports, which path. RFC 8252 sections 7.3 and 8.3. */
import { isIP } from 'node:net'
import { ClientSecretsError, OptionError } from '../errors.js'
import type { ClientSecrets } from '../flows/client-secrets.js'
import { isLoopback } from '../provider/http.js'

/** Where a program waits for the person to come back. See {@link runLocalServerFlow}, {@link runPasteFlow}. */
export interface RedirectOptions {
  /**
   * Host of the redirect URI: `'127.0.0.1'`, `'[::1]'` or `'localhost'`, which listens on both. Default: that of the first
   * loopback redirect URI in the client secrets file, else `'127.0.0.1'`.
   */
  readonly host?: string
  /**
   * Ports to try, in that order; 0 is any free one. Default: any free one, which RFC 8252 makes providers accept, unless
   * redirect URIs of the client secrets file name ports.
   */
  readonly ports?: readonly number[]
  /** Path of the redirect URI; `''` for one that ends with the port. Default: as in the client secrets file, else `'/'`. */
  readonly path?: string
}

export interface Redirect {
  /** As it is written in a URL. */
  readonly host: string
  readonly ports: readonly number[]
  readonly path: string
}

/** @throws {OptionError} {@link ClientSecretsError} */
export function redirectOf(options: RedirectOptions, secrets: ClientSecrets | undefined): Redirect {
  const registered = registeredLoopback(secrets, options.host)
  const host = options.host === undefined ? (registered?.host ?? '127.0.0.1') : hostOf(options.host)
  const { ports = registered?.ports ?? [0], path = registered?.path ?? '/' } = options
  if (ports.length === 0 || !ports.every((port) => Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw new OptionError('ports', 'must be an array of port numbers, such as [8080, 8090]; [0] is any free one.')
  }
  if (!/^(\/[\w\-./~%]*)?$/.test(path)) throw new OptionError('path', 'must be a path, such as "/callback".')
  return { host, ports, path }
}

/** Addresses to listen on. Which of the two a browser takes `localhost` for differs. */
export function addressesOf(host: string): readonly [string, ...string[]] {
  if (host === '[::1]') return ['::1']
  return isIP(host) ? [host] : ['127.0.0.1', '::1']
}

function hostOf(host: string): string {
  const written = host === '::1' ? '[::1]' : host.toLowerCase()
  if (isLoopback(written)) return written
  throw new OptionError('host', 'must be this machine: "127.0.0.1", "[::1]" or "localhost".')
}

/** The loopback redirect URIs of the file that share host and path with the first of them. */
function registeredLoopback(
  secrets: ClientSecrets | undefined,
  host: string | undefined,
): { host: string; ports: number[]; path: string } | undefined {
  if (!secrets || secrets.redirectUris.length === 0) return undefined
  const local = secrets.redirectUris.flatMap((uri) => {
    const url = URL.canParse(uri) ? new URL(uri) : undefined
    if (url?.protocol !== 'http:' || !isLoopback(url.hostname)) return []
    // Compared as text by the provider, so that an empty path stays empty.
    const path = url.pathname === '/' && !uri.endsWith('/') ? '' : url.pathname
    return [{ host: url.hostname, port: Number(url.port), path }]
  })
  const [first] = local
  if (first) {
    const alike = local.filter((one) => one.host === first.host && one.path === first.path)
    return { host: first.host, ports: alike.map(({ port }) => port), path: first.path }
  }
  if (host !== undefined) return undefined
  throw new ClientSecretsError(
    'no redirect URI of this client is on this machine. Register a desktop client, or add http://127.0.0.1/ to its redirect URIs and download the file again.',
  )
}
