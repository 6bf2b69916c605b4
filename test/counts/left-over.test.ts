/** A guarded request leaves nothing behind: no listener, no timer. */
import type { EventEmitter } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { queryObjects } from 'node:v8'
import type { FastifyRequest } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { type CountedApp, SETUPS, startCountedApp } from './app.js'
import { quiet } from './crypto.js'
import { resourcesUntil } from './resources.js'
import { add, since, type Tally, tallyOf } from './tally.js'

const REQUESTS = 100

/** Listeners on everything that outlives a guard, by emitter and event. */
function listeners(request: FastifyRequest): Tally {
  const { raw, server } = request
  const emitters: Record<string, EventEmitter> = { request: raw, socket: raw.socket, server: server.server, process }
  const tally: Tally = {}
  for (const [name, emitter] of Object.entries(emitters)) {
    for (const event of emitter.eventNames()) add(tally, `${name}: ${String(event)}`, emitter.listenerCount(event))
  }
  return tally
}

/** An app with a guarded route that looks at listeners around its guard. */
async function startWatchedApp(setup: (typeof SETUPS)[number]) {
  const looks: { before: Tally; after: Tally }[] = []
  const app = await startCountedApp(setup, (fastify) => {
    let before: Tally = {}
    const all = (request: FastifyRequest, reply: { raw: EventEmitter }) => {
      const tally = listeners(request)
      for (const event of reply.raw.eventNames()) add(tally, `reply: ${String(event)}`, reply.raw.listenerCount(event))
      return tally
    }
    fastify.get(
      '/watched',
      {
        onRequest: [
          (request, reply, done) => {
            before = all(request, reply)
            done()
          },
          requireOAuth(),
          (request, reply, done) => {
            looks.push({ before, after: all(request, reply) })
            done()
          },
        ],
      },
      async () => 'passed',
    )
  })
  await app.signIn()
  await app.request()
  return { app, looks }
}

/** All of them over one connection, which is where something would pile up. */
async function requests({ browser, url }: CountedApp, agent: Agent, count: number): Promise<void> {
  const cookie = browser.cookies().map(({ name, value }) => `${name}=${value}`)
  for (let index = 0; index < count; index += 1) {
    const body = await new Promise<string>((resolve, reject) => {
      const request = httpRequest(`${url}/watched`, { agent, headers: { cookie: cookie.join('; ') } })
      request.on('response', (response) => text(response).then(resolve, reject))
      request.on('error', reject).end()
    })
    expect(body).toBe('passed')
  }
}

describe.each(SETUPS)('%s', (setup) => {
  test('a hundred guarded requests leave no listener, and start no timer', async () => {
    const { app, looks } = await startWatchedApp(setup)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    await requests(app, agent, 1)
    const made = await resourcesUntil(() => requests(app, agent, REQUESTS))
    expect(made, 'timers and the like that our code made').toEqual({})
    for (const { before, after } of looks) expect(since(before, after), 'listeners of a guard').toEqual({})
    expect(since(looks[0]?.after as Tally, looks.at(-1)?.after as Tally), 'listeners of all requests').toEqual({})
  })

  test('a hundred guarded requests leave nothing that keeps the process alive', async () => {
    const { app } = await startWatchedApp(setup)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    await requests(app, agent, 1)
    await quiet()
    const before = tallyOf(process.getActiveResourcesInfo())
    await requests(app, agent, REQUESTS)
    await quiet()
    const more = Object.entries(since(before, tallyOf(process.getActiveResourcesInfo())))
    // The test runner comes and goes with a few of its own; one of ours a request would be a hundred.
    expect(more.filter(([, count]) => count > REQUESTS / 10)).toEqual([])
  })
})

/** How many functions requests have that are still about, by route. */
async function functionsOf(app: CountedApp, held: unknown[], path: string): Promise<number> {
  const functions = () => queryObjects(Function, { format: 'count' }) as unknown as number
  await app.browser.step(app.url + path)
  const before = functions()
  for (let count = 0; count < REQUESTS; count += 1) await app.browser.step(app.url + path)
  const after = functions()
  // Until here: what nobody holds is not counted.
  held.length = 0
  return (after - before) / REQUESTS
}

/** A closure holds on to its request, which V8 then copies from one collection to the next. */
test.each(SETUPS.filter((setup) => !setup.endsWith('without cache')))(
  '%s: a guard that lets people pass makes no function for it',
  async (setup) => {
    const held: unknown[] = []
    const app = await startCountedApp(setup, (fastify) => {
      fastify.addHook('onResponse', async (request, reply) => {
        held.push(request, reply)
      })
      fastify.get('/unguarded', async () => 'passed')
    })
    await app.signIn()
    await app.request()
    const unguarded = await functionsOf(app, held, '/unguarded')
    // Some come and go with whatever else a process does, now and then; one that a guard makes comes every time.
    let guarded = Number.POSITIVE_INFINITY
    for (let tries = 0; tries < 3 && guarded >= unguarded + 0.5; tries += 1) {
      guarded = Math.min(guarded, await functionsOf(app, held, '/guarded'))
    }
    expect(guarded).toBeLessThan(unguarded + 0.5)
  },
)
