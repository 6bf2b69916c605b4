import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import type { CredentialStore } from '../../src/index.js'
import { credentialStoreContract } from '../../src/testing/index.js'
import { startConditionalServer } from './conditional-server.js'

// What is on the page is written into files and imported from there, as a reader would do it.
const page = readFileSync(new URL('../../docs/write-a-store.md', import.meta.url), 'utf8')
const files = new Map([...page.matchAll(/^```ts\n\/\/ (\S+)\n(.*?)^```/gms)].map(([, name, text]) => [name!, text!]))
const folder = fileURLToPath(new URL('../.write-a-store', import.meta.url))
const fileOf = (name: string) => join(folder, name.replace('.test.ts', '-test.ts'))
mkdirSync(folder, { recursive: true })
for (const [name, text] of files) writeFileSync(fileOf(name), text)
afterAll(() => rmSync(folder, { recursive: true }))

type Make = (base: string) => CredentialStore
const { httpStore } = (await import(fileOf('http-store.ts'))) as { httpStore: Make }
const { httpStoreWithLeases } = (await import(fileOf('http-leases.ts'))) as { httpStoreWithLeases: Make }

const started = await startConditionalServer()
afterAll(() => started.close())
describe('the test on the page, as it is', async () => {
  process.env.STORE_URL = started.url
  await import(fileOf('http-store.test.ts'))
})

for (const [name, make] of Object.entries({ httpStore, httpStoreWithLeases })) {
  credentialStoreContract({
    test,
    describe: (title, fn) => describe(`${name} of the page, with a clock that moves: ${title}`, fn),
    async create() {
      const server = await startConditionalServer()
      return {
        store: make(server.url),
        second: make(server.url),
        advance: server.advance,
        cleanup: () => server.close(),
      }
    },
  })
}

describe('the store on the page', () => {
  const uses = (store: CredentialStore) => ({
    get: () => store.get('k'),
    put: () => store.put('k', 'v', 1),
    delete: () => store.delete('k'),
    lock: () => store.lock!('k', 1000),
  })

  test('rejects when the backend fails or is not there, after one request', async () => {
    const server = await startConditionalServer()
    for (const use of Object.values(uses(httpStoreWithLeases(server.url)))) {
      const before = server.requests()
      server.fail(503)
      await expect(use()).rejects.toThrow('503')
      expect(server.requests()).toBe(before + 1)
    }
    await server.close()
    for (const use of Object.values(uses(httpStoreWithLeases(server.url)))) await expect(use()).rejects.toThrow()
  })

  test('is as long as the title of the page may promise, and its test too', () => {
    const lines = (name: string) => files.get(name)!.split('\n').filter(Boolean).length
    expect(lines('http-store.ts')).toBeLessThanOrEqual(40)
    expect(lines('http-store.test.ts')).toBeLessThanOrEqual(5)
  })
})
