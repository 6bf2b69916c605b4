/** docs/rate-limits.md: what a limit refuses has had no effect, and counts for whom it should. */
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import { expect, test } from 'vitest'
import { requireOAuth } from '../../src/index.js'
import { startApp, type TestApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'
import { sessionVariants } from '../helpers/session-plugins.js'
import { back, begin } from '../routes/flow.js'

interface Limits {
  readonly app: TestApp
  /** Lets requests of that path in, or refuses them. */
  readonly open: Set<string>
}

async function start(max: number, routes?: (server: FastifyInstance) => void): Promise<Limits> {
  const usual = sessionVariants[0] as (typeof sessionVariants)[number]
  const open = new Set<string>()
  const app = await startApp({
    variant: {
      ...usual,
      register(server) {
        usual.register(server)
        server.register(rateLimit, { global: false })
      },
    },
    client: {
      routeOptions: {
        config: {
          rateLimit: {
            max,
            timeWindow: 60_000,
            allowList: (request) => open.has(request.url.split('?')[0] as string),
          },
        },
      },
    },
    routes: (server) => server.after(() => routes?.(server)),
  })
  return { app, open }
}

test('our routes have a limit each, by address, and no code in the log of what it refuses', async () => {
  const { app } = await start(1)
  const paths = ['/oauth2authorize', '/oauth2callback?code=canary-code&state=canary-state', '/oauth2authorize']
  const statuses: number[] = []
  for (const path of paths) statuses.push((await new Browser().step(app.url + path)).status)
  expect(statuses).toEqual([302, 400, 429])
  const last = await new Browser().step(`${app.url}/oauth2callback?code=canary-code&state=canary-state`)
  expect(last.status).toBe(429)
  expect(app.logs.text()).not.toContain('canary')
  // What is not ours has no part in it.
  expect((await app.browser.xhr(`${app.url}/profile`)).status).toBe(401)
})

test('a callback that was refused can be loaded again: its code was not used', async () => {
  const { app, open } = await start(1)
  open.add('/oauth2authorize')
  const { callback } = await begin(app)
  expect((await new Browser().step(`${app.url}/oauth2callback`)).status).toBe(400)
  const tokens = () => app.provider.requests.filter(({ endpoint }) => endpoint === 'token').length
  expect((await back(app, callback)).status).toBe(429)
  expect(tokens()).toBe(0)
  open.add('/oauth2callback')
  expect((await back(app, callback)).status).toBe(303)
  expect(tokens()).toBe(1)
})

test('a guarded route counts by user, after the guard: neither strangers nor others use up what is somebody’s', async () => {
  const { app } = await start(1_000, (server) => {
    server.get(
      '/limited',
      {
        onRequest: requireOAuth(),
        config: {
          rateLimit: { hook: 'preHandler', max: 2, keyGenerator: (request) => request.oauth2.user ?? request.ip },
        },
      },
      async () => 'in',
    )
  })
  const { browser, url, provider } = app
  for (let count = 0; count < 5; count += 1) expect((await new Browser().xhr(`${url}/limited`)).status).toBe(401)
  await browser.goto(`${url}/profile`)
  const again = new Browser()
  await again.goto(`${url}/profile`)
  expect((await browser.xhr(`${url}/limited`)).status).toBe(200)
  expect((await again.xhr(`${url}/limited`)).status).toBe(200)
  expect((await browser.xhr(`${url}/limited`)).status).toBe(429)
  provider.user = 'bob'
  const bob = new Browser()
  await bob.goto(`${url}/profile`)
  expect((await bob.xhr(`${url}/limited`)).status).toBe(200)
})
