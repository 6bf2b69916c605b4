/** The ways in which `oauth2client login` has a person sign in, and what it says meanwhile. */
import { createInterface } from 'node:readline'
import type { Credentials } from '../credentials/credentials.js'
import { AuthorizationTimeoutError, ClientRejectedError, FlowAbortedError } from '../errors.js'
import type { DeviceAuthorization } from '../flows/device-authorization.js'
import type { AuthorizationOptions } from '../installed/authorization.js'
import { runDeviceFlow } from '../installed/device.js'
import { runLocalServerFlow } from '../installed/loopback.js'
import { runPasteFlow } from '../installed/paste.js'
import type { Provider } from '../provider/provider.js'
import { hasBrowser } from './browser.js'
import { type Io, UsageError } from './command.js'

type Way = 'browser' | 'device' | 'paste'

export interface Waiting {
  readonly port: number | undefined
  /** Seconds. */
  readonly timeout: number | undefined
}

/** Signs in in the way that is the least trouble for whoever runs the command. */
export async function signAnyWay(
  provider: Provider,
  options: AuthorizationOptions,
  waiting: Waiting,
  io: Io,
): Promise<Credentials> {
  if (hasBrowser(io.env)) return sign('browser', options, waiting, io)
  if ((await provider.metadata()).device_authorization_endpoint !== undefined) {
    try {
      return await sign('device', options, waiting, io)
    } catch (error) {
      // Google, for one, has clients of another type for this than those with a redirect URI.
      if (!(error instanceof ClientRejectedError)) throw error
      io.stderr.write('This client may not sign in with a code on another device.\n')
    }
  }
  return sign(io.stdin?.isTTY ? 'paste' : 'browser', options, waiting, io)
}

export async function sign(
  way: Way,
  options: AuthorizationOptions,
  { port, timeout }: Waiting,
  io: Io,
): Promise<Credentials> {
  const say = (text: string) => io.stderr.write(`${text}\n`)
  const ports = port === undefined ? {} : { ports: [port] }
  const seconds = timeout ?? 300
  if (way === 'paste') {
    const signal = AbortSignal.timeout(seconds * 1000)
    return runPasteFlow({
      ...options,
      ...ports,
      signal,
      ask: (url) => {
        say(`Open this address in any browser and sign in:\n\n  ${url}\n`)
        say('It ends at a page that cannot be loaded. Copy the address of that page and paste it here:')
        return readLine(io, signal)
      },
    }).catch(late)
  }
  if (way === 'device') {
    // The provider says how long a code is good for.
    const ending = timeout === undefined ? {} : { signal: AbortSignal.timeout(timeout * 1000) }
    const { prompt: _prompt, loginHint: _hint, authorizationParams: _params, ...rest } = options
    return runDeviceFlow({
      ...rest,
      ...ending,
      onCode: (code) => say(deviceText(code)),
    }).catch(late)
  }
  const visible = hasBrowser(io.env)
  return runLocalServerFlow({
    ...options,
    ...ports,
    timeout: seconds * 1000,
    openBrowser: visible,
    onUrl: (url) => {
      say(
        `${visible ? 'Your browser opens. If it does not, open' : 'Open'} this address on this machine:\n\n  ${url}\n`,
      )
      say(`Waiting for you to sign in, for ${seconds} seconds at most ...`)
    },
  })
}

/** Nothing but time ends these flows from outside. */
function late(error: unknown): never {
  throw error instanceof FlowAbortedError ? new AuthorizationTimeoutError({ cause: error }) : error
}

function deviceText({ userCode, verificationUri, verificationUriComplete }: DeviceAuthorization): string {
  const shortcut = verificationUriComplete ? `\nor open ${verificationUriComplete} and compare the code.` : ''
  return `On any device, open ${verificationUri} and enter the code\n\n  ${userCode}\n${shortcut}\nWaiting for you to sign in ...`
}

function readLine({ stdin, stderr }: Io, signal: AbortSignal): Promise<string> {
  if (!stdin) throw new UsageError('--no-browser reads the address from stdin.')
  return new Promise((resolve, reject) => {
    // As a terminal, because those cut off what is pasted after 1,024 or 4,096 characters otherwise.
    const terminal = stdin.isTTY === true
    const lines = createInterface({
      input: stdin,
      // An end of the wait lets go of stdin too, which whoever holds it open would keep the process alive with.
      signal,
      ...(terminal ? { output: stderr as unknown as NodeJS.WritableStream, terminal } : {}),
    })
    lines.once('line', (line) => {
      resolve(line)
      lines.close()
    })
    lines.once('SIGINT', () => lines.close())
    lines.once('close', () => reject(new Error('nothing was pasted.')))
  })
}
