/** A file of its own, because a process that looked for its bus once looks in the same place ever after. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { KeyringUnavailableError, StoreUnavailableError } from '../../src/errors.js'
import { keyringStore } from '../../src/storage/keyring.js'
import { setBus } from './secret-service.js'

const service = 'missing'
let directory: string
let path: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keyring-store-'))
  path = join(directory, 'ledger.json')
})
afterEach(() => rm(directory, { recursive: true, force: true }))

describe('keyringStore where there is no keyring', () => {
  test.skipIf(process.platform !== 'linux')('each use that needs it says so, and names fileStore', async () => {
    const before = await setBus('unix:path=/nonexistent/bus')
    try {
      const store = keyringStore({ service, path })
      const error = await store.put('k', 'canary').catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(KeyringUnavailableError)
      // So that everything that bears with stores that are down bears with this one.
      expect(error).toBeInstanceOf(StoreUnavailableError)
      expect(error).toMatchObject({ code: 'FST_OAUTH2_KEYRING_UNAVAILABLE', statusCode: 503 })
      expect(String(error)).toContain('fileStore({ path })')
      expect((error as Error).cause).toBeInstanceOf(Error)
      expect(await store.get('k')).toBeUndefined()
      expect(await readdir(directory)).toEqual([])
    } finally {
      await setBus(before)
    }
  })

  test.each([[''], [undefined], ['a\0b']])('a service called %o is refused', (name) => {
    expect(() => keyringStore({ service: name as string })).toThrow(/Option "service"/)
  })

  test('partLength has to be one', () => {
    expect(() => keyringStore({ service, partLength: 0 })).toThrow(/Option "partLength"/)
  })
})
