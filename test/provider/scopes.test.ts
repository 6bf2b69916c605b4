import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseScopes, readScopes, ScopeSet } from '../../src/provider/scopes.js'

const EMAIL = 'https://www.googleapis.com/auth/userinfo.email'
const set = new ScopeSet({
  aliases: { [EMAIL]: 'email', 'Mail.Read': 'mail.read' },
  implies: {
    repo: ['repo:status', 'public_repo'],
    public_repo: ['read:public'],
    'a:all': ['b:all'],
    'b:all': ['a:all'],
  },
  unreported: ['offline_access', 'Mail.Read'],
})
const plain = new ScopeSet()
const scope = fc.stringMatching(/^[\x21\x23-\x5b\x5d-\x7e]{1,12}$/)

describe('what a person writes', () => {
  test.each([
    ['a b', ['a', 'b']],
    ['  a   b ', ['a', 'b']],
    ['a b a', ['a', 'b']],
    ['', []],
    [[], []],
    [undefined, []],
    [
      ['b', 'a', 'b'],
      ['b', 'a'],
    ],
    ['https://www.googleapis.com/auth/drive', ['https://www.googleapis.com/auth/drive']],
  ])('%j is %j', (input, expected) => {
    expect(parseScopes(input as string)).toEqual(expected)
  })

  test.each([
    [['a b']],
    [['']],
    [[1]],
    [[null]],
    ['a\nb'],
    ['a\tb'],
    ['a"b'],
    ['a\\b'],
    ['ä'],
    [5],
    [null],
    [{}],
    [true],
  ])('%j is refused, naming the option', (input) => {
    const error = expect.objectContaining({
      code: 'FST_OAUTH2_OPTION_INVALID',
      message: expect.stringContaining('"optionalScopes"'),
    })
    expect(() => parseScopes(input as string, 'optionalScopes')).toThrow(error)
  })

  test('K4: a comma is part of a scope, as RFC 6749 has it', () => {
    expect(parseScopes('a,b')).toEqual(['a,b'])
  })
})

describe('what a provider answers', () => {
  test.each([
    ['a b', ['a', 'b']],
    ['a,b', ['a', 'b']],
    ['a, b,,c', ['a', 'b', 'c']],
    ['', []],
    ['a a', ['a']],
    ['a\u0000 b "c"', ['b']],
  ])('%j is %j', (answer, expected) => {
    expect(readScopes(answer)).toEqual(expected)
  })

  test('anything is read without a complaint', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (answer) => Array.isArray(readScopes(answer))))
  })
})

describe('missing', () => {
  test('K4: scopes are compared as sets, by name, and case matters', () => {
    expect(plain.missing(['a', 'b'], ['b', 'a'])).toEqual([])
    expect(plain.missing(['a'], ['A', 'a', 'c'])).toEqual(['A', 'c'])
    expect(plain.missing([], [])).toEqual([])
    expect(plain.covers(['files'], ['files.read'])).toBe(false)
  })

  test('K4: an alias counts for what it stands for, either way round', () => {
    expect(set.missing([EMAIL], ['email'])).toEqual([])
    expect(set.missing(['email'], [EMAIL])).toEqual([])
    expect(set.missing(['openid'], [EMAIL])).toEqual([EMAIL])
    expect(plain.missing([EMAIL], ['email'])).toEqual(['email'])
  })

  test('a scope that includes others counts for them, through every step, and not the other way', () => {
    expect(set.missing(['repo'], ['repo:status', 'public_repo', 'read:public'])).toEqual([])
    expect(set.missing(['public_repo'], ['repo'])).toEqual(['repo'])
  })

  test('inclusions that go round in a circle end', () => {
    expect(set.covers(['a:all'], ['b:all'])).toBe(true)
    expect(set.covers(['b:all'], ['a:all', 'c:all'])).toBe(false)
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('%s is a name like any other', (name) => {
    expect(set.missing([], [name])).toEqual([name])
    expect(set.missing([name], [name])).toEqual([])
    expect(set.missing([name], ['a'])).toEqual(['a'])
    expect(set.union([name], ['a'])).toEqual([name, 'a'])
  })

  test('for any scopes: what is granted is never missing, what is not always is', () => {
    fc.assert(
      fc.property(fc.array(scope), fc.array(scope), (granted, needed) => {
        expect(plain.missing(granted, needed)).toEqual(needed.filter((name) => !granted.includes(name)))
        expect(plain.covers(plain.union(granted, needed), needed)).toBe(true)
      }),
    )
  })
})

describe('union', () => {
  test('no duplicates, aliases count as one, earlier spellings win', () => {
    expect(set.union(['openid', EMAIL], ['email', 'a'], [], ['a'])).toEqual(['openid', EMAIL, 'a'])
    expect(set.union()).toEqual([])
  })
})

describe('granted', () => {
  test('an answer that says nothing grants what was asked for', () => {
    expect(set.granted(['a', 'b'], undefined)).toEqual(['a', 'b'])
  })

  test('an answer that lists something grants that, not what was asked for', () => {
    expect(set.granted(['a', 'b'], ['a'])).toEqual(['a'])
    expect(set.granted(['a', 'b'], [])).toEqual([])
    expect(set.granted(['a'], ['a', 'more'])).toEqual(['a', 'more'])
  })

  test('a scope that answers never list is granted when it was asked for, and only then', () => {
    expect(set.granted(['a', 'offline_access'], ['a'])).toEqual(['a', 'offline_access'])
    expect(set.granted(['a', 'mail.read'], ['a'])).toEqual(['a', 'mail.read'])
    expect(set.granted(['a'], ['a'])).toEqual(['a'])
    expect(plain.granted(['a', 'offline_access'], ['a'])).toEqual(['a'])
  })

  test('the list handed in is not the list handed out', () => {
    const requested = ['a']
    expect(plain.granted(requested, undefined)).not.toBe(requested)
  })
})
