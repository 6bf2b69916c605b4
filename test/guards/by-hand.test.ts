/** Guards that are called as functions, by apps or by plugins that put several hooks together. */
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'

/** As hooks are handed: a request, a reply, and then something. */
type Called = (...args: unknown[]) => Promise<unknown> | undefined

test.each([
  ['nothing else', []],
  ['what is no function, as preParsing has it', [{ pipe: true }]],
])('a guard that is handed %s is an async function, for those who may pass and for others', async (_name, more) => {
  const guard = requireOAuth() as Called
  const { browser, url } = await startApp({
    storage: { ...memoryStore(), shared: true },
    client: { encryptionKeys: 'k'.repeat(32) },
    routes(server) {
      server.get('/by-hand', async (request, reply) => {
        const passing = guard(request, reply, ...more)
        expect(passing).toBeInstanceOf(Promise)
        return (await passing) ?? { user: request.oauth2.userId }
      })
    },
  })
  expect((await browser.xhr(`${url}/by-hand`)).status).toBe(401)
  await browser.goto(`${url}/profile`)
  for (let visit = 0; visit < 3; visit++) {
    expect((await browser.xhr(`${url}/by-hand`)).json()).toEqual({ user: 'sub-alice' })
  }
})

test('a mistake rejects there, and is no exception', async () => {
  const guard = requireOAuth([], { client: 'nobody' }) as Called
  const app = Fastify()
  app.get('/', async (request, reply) => {
    let passing: Promise<unknown> | undefined
    expect(() => {
      passing = guard(request, reply)
    }).not.toThrow()
    return passing
  })
  const answer = await app.inject('/')
  expect([answer.statusCode, answer.json().code]).toEqual([500, 'FST_OAUTH2_NOT_REGISTERED'])
  await app.close()
})
