import { format, inspect } from 'node:util'
import Fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import { captureLogs } from '../helpers/log-capture.js'

const fields = {
  accessToken: 'at-canary',
  expiresAt: 1_800_000_000_000,
  refreshToken: 'rt-canary',
  scopes: ['openid', 'files.read'],
  idToken: 'id-canary',
  claims: { sub: 'sub-canary', email: 'mail-canary@example.com' },
  issuer: 'https://issuer.example',
  clientId: 'client',
  userId: 'sub-canary',
  email: 'mail-canary@example.com',
}
const credentials = new Credentials(fields)
const invalid = (message: string | RegExp = /./) =>
  expect.objectContaining({ code: 'FST_OAUTH2_CREDENTIALS_INVALID', message: expect.stringMatching(message) })

describe('the value', () => {
  test('cannot be changed, nor through what it was made from', () => {
    const scopes = ['a']
    const claims = { sub: 'alice' }
    const value = new Credentials({ accessToken: 'at', scopes, claims })
    scopes.push('b')
    claims.sub = 'mallory'
    expect([value.scopes, value.claims]).toEqual([['a'], { sub: 'alice' }])
    expect(() => Object.assign(value, { accessToken: 'x' })).toThrow(TypeError)
    expect(() => (value.scopes as string[]).push('b')).toThrow(TypeError)
    expect(() => Object.assign(value.claims as object, { sub: 'mallory' })).toThrow(TypeError)
  })

  test('says what it has, and nothing it was not told', () => {
    expect({ ...credentials }).toEqual({ ...fields, tokenType: 'Bearer' })
    expect({ ...new Credentials({ accessToken: 'at' }) }).toMatchObject({ expiresAt: undefined, scopes: [] })
  })

  test('expires at its time and not before; never when the time is unknown', () => {
    expect(credentials.isExpired(fields.expiresAt - 1)).toBe(false)
    expect(credentials.isExpired(fields.expiresAt)).toBe(true)
    expect(new Credentials({ accessToken: 'at' }).isExpired(Number.MAX_SAFE_INTEGER)).toBe(false)
    expect(new Credentials({ accessToken: 'at', expiresAt: 0 }).isExpired()).toBe(true)
  })

  test.each([
    [{ accessToken: '' }, 'accessToken'],
    [{ accessToken: 'a b' }, 'accessToken'],
    [{ accessToken: 'a\r\nx: y' }, 'accessToken'],
    [{ accessToken: undefined }, 'accessToken'],
    [{ expiresAt: Number.NaN }, 'expiresAt'],
    [{ expiresAt: '1' }, 'expiresAt'],
    [{ scopes: 'a b' }, 'scopes'],
    [{ scopes: [1] }, 'scopes'],
    [{ refreshToken: 1 }, 'refreshToken'],
    [{ userId: 1 }, 'userId'],
    [{ claims: 'text' }, 'claims'],
    [{ claims: ['a'] }, 'claims'],
    [{ claims: null }, 'claims'],
  ])('%j is refused by name, and the value is not shown', (wrong, name) => {
    expect(() => new Credentials({ accessToken: 'at', ...wrong } as never)).toThrow(invalid(name))
  })

  test('fromAccessToken cannot be refreshed, and says so', () => {
    const value = Credentials.fromAccessToken('at', { scopes: ['a'] })
    expect(value).toMatchObject({ accessToken: 'at', refreshToken: undefined, scopes: ['a'] })
    expect(JSON.parse(JSON.stringify(value))).toMatchObject({ refreshable: false })
    const sneaked = Credentials.fromAccessToken('at', { refreshToken: 'rt' } as never)
    expect(sneaked.refreshToken).toBeUndefined()
  })
})

describe('serialize', () => {
  test.each([credentials, Credentials.fromAccessToken('at')])('comes back complete', (value) => {
    expect(Credentials.fromJSON(value.serialize())).toEqual(value)
    expect(Credentials.fromJSON(value.serialize())).toBeInstanceOf(Credentials)
  })

  test.each([
    ['a redaction', JSON.stringify(credentials), 'redaction'],
    ['a redaction in a larger text', `{"credentials":${JSON.stringify(credentials)}}`, 'serialize'],
    ['no JSON', 'at-canary', 'JSON'],
    ['nothing', '', 'JSON'],
    ['undefined', undefined, 'JSON'],
    ['null', 'null', 'serialize'],
    ['a string', '"x"', 'serialize'],
    ['an array', '[]', 'serialize'],
    ['an object of somebody else', '{"access_token":"at-canary"}', 'serialize'],
    ['another version', credentials.serialize().replace('"v":1', '"v":2'), 'serialize'],
    ['a member of another type', credentials.serialize().replace('"rt-canary"', '1'), 'refreshToken'],
    ['no access token', credentials.serialize().replace('"at-canary"', 'null'), 'accessToken'],
  ])('%s is refused', (_name, json, message) => {
    expect(() => Credentials.fromJSON(json as string)).toThrow(invalid(message))
    try {
      Credentials.fromJSON(json as string)
    } catch (error) {
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('canary')
    }
  })
})

describe('what is shown is a redaction, and marked as one', () => {
  const logs = captureLogs()
  Fastify({ logger: logs.logger }).log.info({ credentials }, 'message')
  test.each([
    ['JSON.stringify', JSON.stringify({ nested: [credentials] })],
    ['util.inspect', inspect({ nested: [credentials] }, { depth: 9 })],
    ['util.inspect with everything', inspect(credentials, { depth: 9, showHidden: true, getters: true })],
    ['console.log formats', format('%s %o %O %j', credentials, credentials, credentials, credentials)],
    ['a template', `${credentials}`],
    ['a logger', logs.text()],
  ])('%s', (name, shown) => {
    expect(shown).not.toContain('canary')
    if (name !== 'a template') expect(shown).toContain('redacted')
  })
})
