/** Return URLs that strangers try, and those that people need. */
import { expect } from 'vitest'

/** The origin that the lists below are about. */
export const OURS = 'https://app.example.com'

/** What a URL parser takes for another origin, or for none. */
export const elsewhere = [
  '//evil',
  '/\\evil',
  '\\\\evil',
  '\\/evil',
  '/\\/evil',
  '/\\\\\\\\evil',
  '///evil',
  '////evil',
  'https:evil',
  'https:/evil',
  'https://evil',
  'HTTPS://evil',
  '/\t/evil',
  '/\n/evil',
  '/\r/evil',
  ' //evil',
  '\t//evil',
  '\0//evil',
  '//user@us@evil/',
  'http://us@evil',
  'http://us.evil',
  '//evil%E3%80%82com',
  '//evil\u3002com',
  'javascript:alert(1)',
  'JaVaScRiPt:alert(1)',
  '\u0001javascript:alert(1)',
  'data:text/html,x',
  'vbscript:x',
  'blob:https://evil/x',
  `${OURS.replace('https', 'http')}/`,
  `${OURS}:444/`,
  `${OURS}/`,
  // Of our origin for the parser, and of another one for the browser that gets the path of it.
  '/..//evil',
  '/.//evil',
  '/./\\evil',
  '/a/..//evil',
  '/a/../\\evil',
  '/%2e%2e//evil',
  '/%2e//evil',
  'http:evil',
  'http:/evil',
  '',
  'a',
  '?x',
  '#x',
  '..',
  './/evil',
  '@evil',
  // What a header cannot hold.
  '/a\r\nSet-Cookie: x=y',
  '/a\nb',
  '/a\u2028b',
  '/a\u2029b',
  '/a\u0085b',
  '/a\u007fb',
  '/a\0b',
  `/${'x'.repeat(2_048)}`,
]

/** What comes in, and what comes out. */
export const kept: [string, string][] = [
  ['/', '/'],
  ['/a?x=1&y=a%26b#f', '/a?x=1&y=a%26b#f'],
  ['/a?path=C:\\x#\\y', '/a?path=C:%5Cx#%5Cy'],
  ['/@x', '/@x'],
  ['/;x', '/;x'],
  ['/:x', '/:x'],
  ['/ü', '/%C3%BC'],
  ['/a b', '/a%20b'],
  ['/a//b', '/a//b'],
  ['/a/../b', '/b'],
  // Decoded once, and never again.
  ['/%2F%2Fevil', '/%2F%2Fevil'],
  ['/%5Cevil', '/%5Cevil'],
  ['/%09/evil', '/%09/evil'],
  ['/x?next=//evil', '/x?next=//evil'],
  ['/x#//evil', '/x#//evil'],
]

/** Where a browser goes for a Location, by the strictest reading. */
export function expectOurs(location: string): void {
  expect(location).toMatch(/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/)
  expect(new URL(location, OURS).origin).toBe(OURS)
}
