/**
 * Signing in from a program on somebody's own machine: the browser comes back to a server that lives as long as the
 * question does. RFC 8252 section 7.3, RFC 9700, RFC 9207.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { finished } from 'node:stream/promises'
import type { Credentials } from '../credentials/credentials.js'
import { AuthorizationTimeoutError, FlowAbortedError, OptionError } from '../errors.js'
import type { AuthorizationRequest } from '../flows/authorization-code.js'
import type { Provider } from '../provider/provider.js'
import { resolveProvider } from '../registration/provider.js'
import { type AuthorizationOptions, begin, checkAborted, checkTimeout, finish, isRefusal } from './authorization.js'
import { type ShowOptions, show } from './browser.js'
import { type Listener, listen } from './listener.js'
import { isDocument, PAGE_HEADERS, PAGE_POLICY, renderPage } from './page.js'
import { addressesOf, type RedirectOptions, redirectOf } from './redirect.js'

/** Options of {@link runLocalServerFlow}. */
export interface LocalServerFlowOptions extends AuthorizationOptions, RedirectOptions, ShowOptions {
  /** Address to listen on, where it is not that of `host`: `'0.0.0.0'` in a container whose port is published to the host. */
  readonly bindAddress?: string
  /** What the browser shows afterwards: text, or a document that begins with `<!doctype html`. */
  readonly successPage?: string
  /** What it shows when access was not granted or something failed. */
  readonly failurePage?: string
  /** Milliseconds to wait for the person. Default 300,000, which is five minutes. */
  readonly timeout?: number
}

/**
 * Has a person sign in with their browser, and resolves to what they granted. Nothing is stored: hand the result to
 * `CredentialManager`, or keep `serialize()` of it.
 *
 * Waits on this machine only, on a random port, with state, PKCE and nonce. Requests that do not answer the question (another
 * path, another state, another host name, anything but GET) do not end the wait. Whatever happens, the server is closed.
 *
 * @throws {OptionError} {@link ClientSecretsError} {@link MissingPeerError} before anything is opened
 * @throws {LoopbackUnavailableError} when no port is free
 * @throws {AccessDeniedError} when the person said no
 * @throws {AuthorizationTimeoutError} when nobody came back in time
 * @throws {FlowAbortedError} when `signal` ended the wait
 * @throws {ClientRejectedError} {@link ExchangeFailedError} {@link StateInvalidError} {@link ProviderUnavailableError}
 * @example
 * ```ts
 * import { runLocalServerFlow } from 'fastify-oauth2client/installed'
 *
 * const credentials = await runLocalServerFlow({
 *   clientSecretsFile: 'client_secrets.json',
 *   scopes: ['openid', 'email'],
 *   onUrl: (url) => console.error(`If no browser opens, go to ${url}`),
 * })
 * console.log(credentials.email)
 * ```
 */
export async function runLocalServerFlow(options: LocalServerFlowOptions): Promise<Credentials> {
  const { signal, timeout = 300_000, bindAddress } = options
  const { provider, clientSecrets } = resolveProvider(options)
  const { host, ports, path } = redirectOf(options, clientSecrets)
  checkTimeout(timeout)
  checkPages(options)
  checkAborted(signal)
  const callback = new Callback(provider, path, options)
  let listener: Listener | undefined
  try {
    const addresses = bindAddress === undefined ? addressesOf(host) : [bindAddress]
    listener = await listen(addresses, ports, (req, res) => callback.handle(req, res))
    const origin = `http://${host}:${listener.port}`
    const { url, request } = await begin(provider, `${origin}${path}`, options)
    checkAborted(signal)
    callback.expect(new URL(origin).host, request)
    const answer = callback.wait(timeout, signal)
    // A browser that takes its time to open holds up neither the answer nor the end of the wait.
    return await Promise.race([show(url, options).then(() => answer), answer])
  } finally {
    callback.stop()
    await listener?.close()
  }
}

const SUCCESS = 'You are signed in. You can close this window and go back to the program.'
const FAILURE = 'Nothing was changed. Close this window and go back to the program, which says what happened.'

/** @throws {OptionError} now, and not when the person came back */
function checkPages(options: LocalServerFlowOptions): void {
  for (const name of ['successPage', 'failurePage'] as const) {
    const page: unknown = options[name]
    if (page !== undefined && typeof page !== 'string') {
      throw new OptionError(name, 'must be a string: text, or a document that begins with <!doctype html.')
    }
  }
}

/** Waits for the one request that answers the question. */
class Callback {
  readonly #provider: Provider
  readonly #path: string
  readonly #pages: Pick<LocalServerFlowOptions, 'successPage' | 'failurePage'>
  #expected: { readonly host: string; readonly request: AuthorizationRequest } | undefined
  /** What became of the answer. A browser that loads it again gets the same page. */
  #outcome: Promise<Credentials> | undefined
  #settle: (outcome: Promise<Credentials>) => void = () => {}
  #stop: () => void = () => {}

  constructor(provider: Provider, path: string, pages: Pick<LocalServerFlowOptions, 'successPage' | 'failurePage'>) {
    this.#provider = provider
    this.#path = path === '' ? '/' : path
    this.#pages = pages
  }

  expect(host: string, request: AuthorizationRequest): void {
    this.#expected = { host, request }
  }

  /** Once an answer is there, only the deadlines of its own requests end the wait: what was sent must not be lost. */
  wait(timeout: number, signal: AbortSignal | undefined): Promise<Credentials> {
    const answer = new Promise<Credentials>((resolve, reject) => {
      const abort = () => this.#outcome ?? reject(new FlowAbortedError({ cause: signal?.reason }))
      const timer = setTimeout(() => this.#outcome ?? reject(new AuthorizationTimeoutError()), timeout)
      signal?.addEventListener('abort', abort, { once: true })
      this.#stop = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      this.#settle = resolve
    })
    // It may come to an end while nobody looks: while the browser is being opened.
    answer.catch(() => {})
    return answer
  }

  stop(): void {
    this.#expected = undefined
    this.#stop()
  }

  handle(req: IncomingMessage, res: ServerResponse): void {
    const query = this.#answerIn(req)
    if (query === undefined || !this.#expected) {
      ignore(req, res)
      return
    }
    this.#outcome ??= finish(this.#provider, this.#expected.request, query)
    const outcome = this.#outcome
    const shown = outcome.then(
      () => this.#answer(res, 200, 'Signed in', this.#pages.successPage ?? SUCCESS),
      (error: unknown) => {
        const [status, title]: [number, string] = isRefusal(error)
          ? [403, 'Access was not granted']
          : [400, 'This did not work']
        return this.#answer(res, status, title, this.#pages.failurePage ?? FAILURE)
      },
    )
    // The page first: after that, nobody is there to serve it. One that cannot be shown does not cost the credentials.
    shown.catch(() => {}).then(() => this.#settle(outcome))
  }

  /** The query, if this is a browser that comes back from our question. Everything else is somebody else. */
  #answerIn(req: IncomingMessage): string | undefined {
    const { method, url = '', headers } = req
    if (method !== 'GET' || !this.#expected) return undefined
    // A page of another host whose name was made to point here has another Host.
    if (headers.host?.toLowerCase() !== this.#expected.host) return undefined
    const [path, query = ''] = split(url)
    if (path !== this.#path) return undefined
    const states = new URLSearchParams(query).getAll('state')
    return states.length === 1 && same(states[0] as string, this.#expected.request.state) ? query : undefined
  }

  async #answer(res: ServerResponse, status: number, title: string, text: string): Promise<void> {
    // A document of the program's own brings what it needs.
    const policy = isDocument(text) ? {} : { 'content-security-policy': PAGE_POLICY }
    res.writeHead(status, { ...PAGE_HEADERS, ...policy }).end(renderPage(title, text))
    await finished(res).catch(() => {})
  }
}

/** Icons, connections made ahead, scanners, other programs' redirects: answered, and nothing more. */
function ignore(req: IncomingMessage, res: ServerResponse): void {
  const status = req.method === 'GET' ? 404 : 405
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', allow: 'GET', 'cache-control': 'no-store' })
  res.end(req.method === 'HEAD' ? undefined : 'This answers nothing that was asked here.\n')
}

function split(url: string): [path: string, query?: string] {
  const at = url.indexOf('?')
  return at === -1 ? [url] : [url.slice(0, at), url.slice(at + 1)]
}

function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
