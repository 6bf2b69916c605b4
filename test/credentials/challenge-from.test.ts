import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { challengeFrom } from '../../src/index.js'

const from = (...values: string[]) => {
  const headers = new Headers()
  for (const value of values) headers.append('www-authenticate', value)
  return challengeFrom(new Response(null, { status: 401, headers }))
}
const NOTHING = { error: undefined, scopes: [], acrValues: [], maxAge: undefined }

describe('what an API wants', () => {
  test('RFC 6750: scopes that are missing', () => {
    expect(from('Bearer realm="example", error="insufficient_scope", scope="files.read files.write"')).toEqual({
      ...NOTHING,
      error: 'insufficient_scope',
      scopes: ['files.read', 'files.write'],
    })
  })

  test('RFC 9470: a better or a fresher sign-in', () => {
    const header =
      'Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR other", max_age=5'
    expect(from(header)).toEqual({
      ...NOTHING,
      error: 'insufficient_user_authentication',
      acrValues: ['myACR', 'other'],
      maxAge: 5,
    })
  })

  test.each<[string, string[], object | undefined]>([
    ['only a token', ['Bearer'], NOTHING],
    ['a realm', ['bearer realm="x"'], NOTHING],
    ['without quotes, with spaces around', ['Bearer error = invalid_token'], { ...NOTHING, error: 'invalid_token' }],
    ['no challenge', [], undefined],
    ['another scheme', ['Basic realm="x", error="y"'], undefined],
    ['a token of another scheme', ['Negotiate Bearer==, Bearer error="a"'], { ...NOTHING, error: 'a' }],
    ['several in one header', ['Basic realm="a, Bearer", Bearer error="b"'], { ...NOTHING, error: 'b' }],
    ['several headers', ['Bearer realm="a"', 'Bearer error="c"'], { ...NOTHING, error: 'c' }],
    ['parameters of the next scheme', ['Bearer, Basic error="x"'], NOTHING],
    ['DPoP', ['DPoP algs="ES256", error="use_dpop_nonce"'], { ...NOTHING, error: 'use_dpop_nonce' }],
    ['escapes', ['Bearer realm="a\\"b", error="d"'], { ...NOTHING, error: 'd' }],
    ['the same twice: the first counts', ['Bearer error="a", error="b"'], { ...NOTHING, error: 'a' }],
    ['what no error code can be', ['Bearer error="two words"'], NOTHING],
    ['what no scope can be', ['Bearer scope="a \\"b\\" c"'], { ...NOTHING, scopes: ['a', 'c'] }],
    ['an age that is none', ['Bearer max_age=-1'], NOTHING],
    ['a quote that does not end', ['Bearer error="x'], NOTHING],
    ['a name that objects have', ['Bearer __proto__="x", error="e"'], { ...NOTHING, error: 'e' }],
  ])('%s', (_name, headers, expected) => {
    expect(from(...headers)).toEqual(expected)
  })
})

test('M3: whatever an API says is read without a throw, and in time', () => {
  const pieces = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'error', 'scope', 'a', '/', '==', '\t')
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 200 }), (parts) => {
      const challenge = from(parts.join(''))
      for (const scope of challenge?.scopes ?? []) expect(scope).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]+$/)
    }),
    { numRuns: 2_000 },
  )
  for (const long of ['"'.repeat(50_000), 'a='.repeat(50_000), '\\"'.repeat(50_000), 'Bearer '.repeat(50_000)])
    from(long)
})
