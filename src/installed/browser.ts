/** Shows a person an address: in their browser, through the optional package `open`, or through the caller. */
import { MissingPeerError } from '../errors.js'

/** How the authorization URL gets to the person. See {@link runLocalServerFlow}. */
export interface ShowOptions {
  /**
   * `true` opens the person's browser with the package `open`; a function opens it in its own way; `false` leaves it to
   * `onUrl`. Default `true`.
   */
  readonly openBrowser?: boolean | ((url: string) => unknown)
  /**
   * Given the URL before the browser is opened, to print it: where no browser opens, that is the way on. Without it, a
   * browser that does not open is an error.
   */
  readonly onUrl?: (url: string) => unknown
}

/** @throws {MissingPeerError} or what the browser's opening failed with, if there is no `onUrl` to fall back on */
export async function show(url: string, { openBrowser = true, onUrl }: ShowOptions): Promise<void> {
  await onUrl?.(url)
  if (openBrowser === false) return
  try {
    await (openBrowser === true ? openWithPeer(url) : openBrowser(url))
  } catch (error) {
    if (!onUrl) throw error
  }
}

async function openWithPeer(url: string): Promise<void> {
  let open: typeof import('open').default
  try {
    open = (await import('open')).default
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new MissingPeerError('open', 'open', { cause })
  }
  const child = await open(url)
  // Its failures later on are nothing that this process should end for.
  child?.on('error', () => {})
}
