import { createSecretKey } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OptionError } from '../../src/errors.js'
import { createXsrfToken, verifyXsrfToken } from '../../src/xsrf/token.js'

const key = 'a secret of at least thirty-two random bytes'
const MINUTE = 60_000
const now = 1_800_000_000_000
const binding = { user: 'alice', action: 'delete', now }
const token = createXsrfToken(key, binding)
const text = fc.string({ unit: 'binary' })

describe('XS-1 a token is good for one hour, one user, one action, one key', () => {
  test.each([
    ['at once', 0, true],
    ['15 minutes later', 15 * MINUTE, true],
    ['at the end of the hour', 60 * MINUTE, true],
    ['a moment after it', 60 * MINUTE + 1, false],
    ['2 hours later', 120 * MINUTE, false],
    ['with a clock a minute behind', -MINUTE, true],
    ['from the future', -MINUTE - 1, false],
    ['from far in the future', -120 * MINUTE, false],
  ])('%s', (_name, later, valid) => {
    expect(verifyXsrfToken(key, token, { ...binding, now: now + later })).toBe(valid)
  })

  test('another key, user or action', () => {
    expect(verifyXsrfToken(key, token, binding)).toBe(true)
    expect(verifyXsrfToken('another secret of at least thirty-two bytes', token, binding)).toBe(false)
    expect(verifyXsrfToken(key, token, { ...binding, user: 'bob' })).toBe(false)
    expect(verifyXsrfToken(key, token, { ...binding, action: 'create' })).toBe(false)
    expect(verifyXsrfToken(key, token, { user: 'alice', now })).toBe(false)
  })

  test('cut off or padded with junk', () => {
    for (const junk of [token.slice(0, -1), token.slice(1), `${token}x`, `x${token}`, `${token}\n`, ` ${token}`]) {
      expect(verifyXsrfToken(key, junk, binding)).toBe(false)
    }
  })

  test('a lifetime of its own', () => {
    const later = { ...binding, now: now + 5 * MINUTE }
    expect(verifyXsrfToken(key, token, { ...later, lifetime: 4 * MINUTE })).toBe(false)
    expect(verifyXsrfToken(key, token, { ...later, lifetime: 5 * MINUTE })).toBe(true)
  })
})

describe('XS-2 the message is user, action and time', () => {
  test('the time defaults to now, the action to none', () => {
    const before = Date.now()
    const made = createXsrfToken(key, { user: 'alice' })
    expect(verifyXsrfToken(key, made, { user: 'alice' })).toBe(true)
    expect(Number.parseInt(made, 36)).toBeGreaterThanOrEqual(before)
    expect(verifyXsrfToken(key, made, { user: 'alice', action: 'x' })).toBe(false)
  })

  test('the time cannot be exchanged', () => {
    const later = createXsrfToken(key, { ...binding, now: now + 120 * MINUTE })
    const forged = `${later.slice(0, later.indexOf('.'))}${token.slice(token.indexOf('.'))}`
    expect(verifyXsrfToken(key, forged, { ...binding, now: now + 120 * MINUTE })).toBe(false)
  })

  test('two bindings never share a token', () => {
    fc.assert(
      fc.property(text, text, text, text, (user, action, otherUser, otherAction) => {
        fc.pre(user !== otherUser || action !== otherAction)
        const made = createXsrfToken(key, { user, action, now })
        return !verifyXsrfToken(key, made, { user: otherUser, action: otherAction, now })
      }),
    )
  })

  test.each([
    [
      ['a:b', 'c'],
      ['a', 'b:c'],
    ],
    [
      ['a', ''],
      ['', 'a'],
    ],
    [
      ['a,1:b', ''],
      ['a', 'b'],
    ],
    [
      ['\ud800', ''],
      ['\ud801', ''],
    ],
  ])('fields are not run together: %j is not %j', ([user, action], [otherUser, otherAction]) => {
    const made = createXsrfToken(key, { user: user as string, action: action as string, now })
    const other = { user: otherUser as string, action: otherAction as string, now }
    expect(verifyXsrfToken(key, made, other)).toBe(false)
  })

  test('keys may be text, bytes or a key object', () => {
    const bytes = Buffer.from(key)
    expect(verifyXsrfToken(bytes, token, binding)).toBe(true)
    expect(verifyXsrfToken(createSecretKey(bytes), token, binding)).toBe(true)
  })
})

describe('a key that anybody could guess is refused, by both', () => {
  const bytes = Buffer.alloc(31, 7)
  test.each([
    ['a variable that is empty', ''],
    ['one that is not set', undefined as never],
    ['text that is too short', 'x'.repeat(31)],
    ['bytes that are too few', bytes],
    ['a key object with too few', createSecretKey(bytes)],
  ])('%s', (_name, short) => {
    for (const use of [
      () => createXsrfToken(short, binding),
      () => verifyXsrfToken(short, token, binding),
      () => verifyXsrfToken(short, undefined, binding),
    ]) {
      expect(use).toThrow(OptionError)
      expect(use).toThrow('Option "key": must have at least 32 bytes.')
    }
  })

  test('32 bytes are enough, however many characters they are', () => {
    for (const enough of ['x'.repeat(32), 'é'.repeat(16), Buffer.alloc(32), createSecretKey(Buffer.alloc(32))]) {
      expect(verifyXsrfToken(enough, createXsrfToken(enough, binding), binding)).toBe(true)
    }
  })
})

describe('XS-3 what is not a token is false, and nothing throws', () => {
  test.each([
    undefined,
    null,
    '',
    '.',
    'x',
    0,
    {},
    [],
    [token],
    { token },
    Number.NaN,
    Symbol('x'),
    `.${'a'.repeat(43)}`,
  ])('%s', (junk) => {
    expect(verifyXsrfToken(key, junk, binding)).toBe(false)
  })

  test('anything at all', () => {
    fc.assert(fc.property(fc.anything(), (junk) => !verifyXsrfToken(key, junk, binding)))
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-z]{1,12}\.[\w-]{42,44}$/), (junk) => !verifyXsrfToken(key, junk, binding)),
    )
  })

  test('every change of one character', () => {
    for (let at = 0; at < token.length; at += 1) {
      for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.') {
        const changed = token.slice(0, at) + character + token.slice(at + 1)
        if (changed !== token) expect([changed, verifyXsrfToken(key, changed, binding)]).toEqual([changed, false])
      }
    }
  })

  test('a clock that makes no sense', () => {
    expect(verifyXsrfToken(key, token, { ...binding, now: Number.NaN })).toBe(false)
    expect(verifyXsrfToken(key, token, { ...binding, lifetime: Number.NaN })).toBe(false)
  })
})
