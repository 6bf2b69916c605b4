/** Where a person is sent back to: a path of our own origin, or nothing. RFC 9700 section 4.11. */

const BASE = 'http://origin.invalid'
const MAXIMUM_LENGTH = 2048

/**
 * The path, query and fragment to go back to, or `undefined` for anything that could lead elsewhere. What comes in was
 * decoded once and is never decoded again.
 *
 * @param avoid paths that would lead straight back into a flow, as {@link comparable} has them
 */
export function parseReturnUrl(value: unknown, avoid?: ReadonlySet<string>): string | undefined {
  if (typeof value !== 'string' || value.length > MAXIMUM_LENGTH) return undefined
  // Before the URL parser sees it: the parser drops tabs and line breaks, and takes a backslash for a slash.
  // Behind the question mark a backslash is only a character, which browsers send as it is; it leaves encoded.
  if (!/^\/(?![/\\])[^\\?#\p{Cc}\p{Zl}\p{Zp}]*(?:[?#][^\p{Cc}\p{Zl}\p{Zp}]*)?$/u.test(value)) return undefined
  let url: URL
  try {
    url = new URL(value, BASE)
  } catch {
    return undefined
  }
  // Dot segments can leave two slashes at the start: '/.//evil.example' has the path '//evil.example'.
  if (url.origin !== BASE || /^\/[/\\]/.test(url.pathname)) return undefined
  if (avoid?.has(comparable(url.pathname))) return undefined
  return (url.pathname + url.search + url.hash).replaceAll('\\', '%5C')
}

/** A path as a router would compare it: without regard to case, a trailing slash or needless percent encoding. */
export function comparable(path: string): string {
  try {
    // Looking behind, so that a run of slashes in the middle is not tried from each one of them.
    return decodeURIComponent(path)
      .toLowerCase()
      .replace(/(?<!\/)\/+$/, '')
  } catch {
    return path.toLowerCase()
  }
}
