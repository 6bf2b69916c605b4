/** Text as attackers, broken programs and bad luck write it. */
import fc, { type Arbitrary } from 'fast-check'

/** What has hurt somebody before. */
const PIECES = [
  '',
  ' ',
  '/',
  '//',
  '\\',
  '/\\',
  '//evil.example',
  '/..//evil.example',
  '/.//evil.example',
  'https:evil.example',
  'https://evil.example',
  'javascript:alert(1)',
  'data:text/html,x',
  '%2F%2Fevil.example',
  '%5cevil.example',
  '%09',
  '%00',
  '%',
  '%zz',
  '%ff%fe',
  '%E3%80%82',
  '\u0000',
  '\t',
  '\n',
  '\r\nSet-Cookie: a=b',
  '\u2028',
  '\u202e',
  '\ufeff',
  '\ud800',
  '😀',
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' OR 1=1 --",
  '__proto__',
  'constructor',
  'toString',
  'null',
  'undefined',
  'true',
  '0',
  '-1',
  '1e400',
  '9007199254740993',
  '[]',
  '{}',
  '[1]',
  '{"__proto__":{"polluted":true}}',
  '@user',
  'user:password@evil.example',
  '#fragment',
  '?a=b&a=c',
  '&',
  '=',
  ';',
  ',',
  '/oauth2authorize',
  '/oauth2callback',
  'a'.repeat(300),
  '/'.repeat(300),
] as const

export const piece: Arbitrary<string> = fc.constantFrom(...PIECES)

/** Anything at all, and what is worse. */
export const hostileText: Arbitrary<string> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.array(fc.oneof(piece, fc.string({ maxLength: 8 })), { maxLength: 6 }).map((p) => p.join('')),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 2_000 }) },
)

/** Any JSON value, with names and values that mean something to us among the others. */
export function hostileJson(names: readonly string[]): Arbitrary<unknown> {
  const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, piece)
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { depthSize: 'small' },
      hostileText,
      fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 1e308, Number.MAX_SAFE_INTEGER, '', 'a'),
      fc.integer(),
      fc.array(tie('json'), { maxLength: 3 }),
      fc.array(fc.tuple(name, tie('json')), { maxLength: 6 }).map((entries) => Object.fromEntries(entries)),
    ),
  }))
  return json
}

type Mutation = (text: string) => string

/** A function that a failure shows with what it is made of. */
export function described<F extends object>(use: F, parts: unknown): F {
  return Object.assign(use, { [fc.toStringMethod]: () => fc.stringify(parts) })
}

/** One thing that goes wrong with a text on its way, at a place that is a fraction of its length. */
const mutation: Arbitrary<Mutation> = fc
  .record({
    kind: fc.constantFrom('cut', 'repeat', 'insert', 'replace', 'flip', 'truncate', 'swap'),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.integer({ min: 1, max: 40 }),
    text: fc.oneof(piece, fc.string({ maxLength: 4 })),
    bit: fc.integer({ min: 0, max: 6 }),
  })
  .map((parts) => described(mutationOf(parts), parts))

interface MutationParts {
  readonly kind: string
  readonly at: number
  readonly length: number
  readonly text: string
  readonly bit: number
}

function mutationOf({ kind, at, length, text: other, bit }: MutationParts): Mutation {
  return (text) => {
    const from = Math.floor(at * text.length)
    const to = Math.min(text.length, from + length)
    const [head, middle, tail] = [text.slice(0, from), text.slice(from, to), text.slice(to)]
    switch (kind) {
      case 'cut':
        return head + tail
      case 'repeat':
        return head + middle + middle + tail
      case 'insert':
        return head + other + middle + tail
      case 'replace':
        return head + other + tail
      case 'truncate':
        return head
      case 'swap':
        return tail + middle + head
      default:
        return head + String.fromCharCode((text.charCodeAt(from) || 0) ^ (1 << bit)) + text.slice(from + 1)
    }
  }
}

/** A text that was right before something happened to it, once or a few times. */
export const mutations: Arbitrary<Mutation> = fc
  .array(mutation, { minLength: 1, maxLength: 4 })
  .map((all) => described((text: string) => all.reduce((result, mutate) => mutate(result), text), all))

/** A query of parameters that mean something to us, and others, in any spelling: whatever a request line can hold. */
export function hostileQuery(names: readonly string[], values: Arbitrary<string> = hostileText): Arbitrary<string> {
  const pair = fc
    .tuple(fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...names) }, piece), values, fc.boolean())
    .map(([name, value, encoded]) =>
      encoded ? `${encodeURIComponent(wellFormed(name))}=${encodeURIComponent(wellFormed(value))}` : `${name}=${value}`,
    )
  return fc.array(pair, { maxLength: 6 }).map((pairs) => requestTarget(pairs.join('&')))
}

/** What an HTTP client can put into a request line; the rest is what one percent-encodes without being asked. */
export function requestTarget(text: string): string {
  return text.replace(/[^\x21-\x7e]|#/gu, (character) => encodeURIComponent(wellFormed(character)))
}

/** What an HTTP client can put into a header. */
export function headerValue(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
}

function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udfff]/g, '\ufffd')
}
