import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as api from '../../src/index.js'

const documented = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const classes = Object.entries(api).filter(
  ([name, value]) => name.endsWith('Error') && name !== 'OAuth2ClientError' && typeof value === 'function',
) as [string, new (...args: string[]) => api.OAuth2ClientError][]

test('every error is documented with its code and status', () => {
  for (const [name, ErrorClass] of classes) {
    const { code } = new ErrorClass('x', 'y')
    expect(documented, name).toContain(`| \`${code}\` |`)
  }
  for (const [, code, status] of documented.matchAll(/\| `(FST_OAUTH2_\w+)` \| (\d{3}) \|/g)) {
    const found = classes.map(([, ErrorClass]) => new ErrorClass('x', 'y')).find((error) => error.code === code)
    expect(found?.statusCode, code).toBe(Number(status))
  }
})

test('no documented error is dead', () => {
  const codes = new Set(classes.map(([, ErrorClass]) => new ErrorClass('x', 'y').code))
  for (const [, code] of documented.matchAll(/^\| `(FST_OAUTH2_\w+)` \|/gm)) expect(codes, code).toContain(code)
})

test('errors are told apart by class, also through another copy of the package', () => {
  const error = new api.ScopeDeclinedError()
  expect(error).toBeInstanceOf(api.OAuth2ClientError)
  expect(error).toBeInstanceOf(api.ScopeDeclinedError)
  expect(error).not.toBeInstanceOf(api.AccessDeniedError)
})
