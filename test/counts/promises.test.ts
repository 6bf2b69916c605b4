/** A guard that has everything at hand makes no promise, and nothing of ours has Node keep track of anybody's. */
import { createHook } from 'node:async_hooks'
import { readdirSync, readFileSync } from 'node:fs'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { SETUPS, type Setup, startCountedApp, UNTIL_EXPIRED } from './app.js'
import { promisesAreTracked, resourcesOf } from './resources.js'
import type { Tally } from './tally.js'

interface Passing {
  /** What was made before the guard returned. */
  readonly made: Tally
  /** Whether it called `done` before it returned, and nothing was returned. */
  readonly atOnce: boolean
}

/** Of a guarded request whose credentials were used a moment ago. */
const PASSING: Record<Setup, Passing> = {
  '@fastify/session, session': { made: {}, atOnce: true },
  '@fastify/session, memory': { made: {}, atOnce: true },
  '@fastify/session, shared': { made: {}, atOnce: true },
  '@fastify/session, shared without cache': { made: { PROMISE: 11 }, atOnce: false },
  '@fastify/secure-session, session': { made: {}, atOnce: true },
  '@fastify/secure-session, memory': { made: {}, atOnce: true },
  '@fastify/secure-session, shared': { made: {}, atOnce: true },
  '@fastify/secure-session, shared without cache': { made: { PROMISE: 11 }, atOnce: false },
}

describe.each(SETUPS)('%s', (setup) => {
  test('a guard makes as many promises as it did before it returns', async () => {
    const guard = requireOAuth()
    let passing: Passing | undefined
    // As Fastify calls it, but for what comes next: that is not the guard's.
    const onRequest = (request: FastifyRequest, reply: FastifyReply, next: () => void) => {
      let done = 0
      const { returned, resources: made } = resourcesOf(() =>
        guard(request, reply, () => {
          done += 1
        }),
      )
      passing = { made, atOnce: done === 1 && returned === undefined }
      if (done === 0) return returned
      next()
      return undefined
    }
    const app = await startCountedApp(setup, (fastify) => {
      fastify.get('/watched', { onRequest: onRequest as ReturnType<typeof requireOAuth> }, async () => 'passed')
    })
    await app.signIn()
    await app.request()
    expect((await app.browser.step(`${app.url}/watched`)).body).toBe('passed')
    expect(passing, setup).toEqual(PASSING[setup])
  })

  test('after sign-ins, requests and refreshes, promises are not tracked', async () => {
    expect(await promisesAreTracked(), 'before anything of ours ran').toBe(false)
    const app = await startCountedApp(setup)
    await app.signIn()
    for (let count = 0; count < 20; count += 1) await app.request()
    app.clock.advance(UNTIL_EXPIRED)
    await app.request()
    expect(await promisesAreTracked()).toBe(false)
  })
})

test('promises that are tracked would be noticed', async () => {
  const hook = createHook({ init() {} }).enable()
  expect(await promisesAreTracked()).toBe(true)
  hook.disable()
})

test('nothing of ours asks for hooks or for AsyncLocalStorage, which newer versions of Node keep without a trace', () => {
  const src = new URL('../../src/', import.meta.url)
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  expect(files.filter((file) => /['"](node:)?async_hooks['"]/.test(readFileSync(new URL(file, src), 'utf8')))).toEqual(
    [],
  )
})
