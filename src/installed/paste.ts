/** Signing in where no browser can come back to this machine: the person pastes the address that it ended at. */
import { randomInt } from 'node:crypto'
import type { Credentials } from '../credentials/credentials.js'
import { FlowAbortedError, OptionError, StateInvalidError } from '../errors.js'
import { resolveProvider } from '../registration/provider.js'
import { type AuthorizationOptions, begin, checkAborted, finish } from './authorization.js'
import { type RedirectOptions, redirectOf } from './redirect.js'

/** Options of {@link runPasteFlow}. */
export interface PasteFlowOptions extends AuthorizationOptions, RedirectOptions {
  /** Shows the person the URL, and resolves to the address that their browser ended at, as they pasted it. */
  readonly ask: (url: string) => Promise<string>
}

/**
 * Has a person sign in with the browser of another machine. It ends at an address of its own machine where nothing answers;
 * the person copies that from the address bar. State and PKCE are checked as ever, so that an address from another
 * authorization, or one that somebody else sent, is of no use here.
 *
 * @throws {OptionError} {@link ClientSecretsError} for options that make no sense, and when `ask` resolves to no string
 * @throws {FlowAbortedError} when `signal` ended the wait
 * @throws {StateInvalidError} when what was pasted does not answer the question
 * @throws {AccessDeniedError} {@link ClientRejectedError} {@link ExchangeFailedError} {@link ProviderUnavailableError}
 * @example
 * ```ts
 * import { createInterface } from 'node:readline/promises'
 * import { runPasteFlow } from 'fastify-oauth2client/installed'
 *
 * const terminal = createInterface({ input: process.stdin, output: process.stderr })
 * const credentials = await runPasteFlow({
 *   clientSecretsFile: 'client_secrets.json',
 *   ask: (url) => terminal.question(`Open ${url}\nand paste the address that the browser ends at: `),
 * })
 * terminal.close()
 * console.log(credentials.email)
 * ```
 */
export async function runPasteFlow(options: PasteFlowOptions): Promise<Credentials> {
  const { signal, ask } = options
  const { provider, clientSecrets } = resolveProvider(options)
  const { host, ports, path } = redirectOf(options, clientSecrets)
  if (typeof ask !== 'function') throw new OptionError('ask', 'must be a function that resolves to what was pasted.')
  checkAborted(signal)
  // One where nothing listens, as likely as not: the browser says so, and keeps the address.
  const port = ports[0] || randomInt(49_152, 65_536)
  const { url, request } = await begin(provider, `http://${host}:${port}${path}`, options)
  // Nobody is asked for what is not wanted any more.
  checkAborted(signal)
  const pasted: unknown = await abortable(ask(url), signal)
  if (typeof pasted !== 'string') throw new OptionError('ask', 'must resolve to what was pasted, a string.')
  return finish(provider, request, queryIn(pasted, request.state))
}

/** The query of what was pasted: with quotes around it, over several lines of a terminal, or without its beginning. */
function queryIn(pasted: string, state: string): string {
  const text = pasted.replace(/\s+/g, '').replace(/^['"<]+|['">]+$/g, '')
  const [, query = ''] = /\?([^#]*)/.exec(text) ?? [undefined, text]
  // Without its state, an address could have come from anybody.
  if (new URLSearchParams(query).get('state') !== state) throw new StateInvalidError()
  return query
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const stop = () => reject(new FlowAbortedError({ cause: signal.reason }))
    signal.addEventListener('abort', stop, { once: true })
    // Before anything else: what it rejects with after an abort must not be nobody's.
    Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', stop))
    if (signal.aborted) stop()
  })
}
