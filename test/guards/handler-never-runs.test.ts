import { request as httpRequest } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test, vi } from 'vitest'
import { type OAuth2ClientOptions, requireOAuth } from '../../src/index.js'
import { startApp } from '../helpers/app.js'
import {
  describeEachSession,
  type SessionVariant,
  SlowSessionStore,
  sessionVariants,
} from '../helpers/session-plugins.js'

const guard = requireOAuth()
const nothing = async () => {}

/** Every way to put a guard on a route. The handler notes that it ran. */
const placements: Record<string, (app: FastifyInstance, ran: () => object) => void> = {
  onRequest: (app, ran) => app.all('/guarded', { onRequest: guard }, async () => ran()),
  preValidation: (app, ran) => app.all('/guarded', { preValidation: guard }, async () => ran()),
  preHandler: (app, ran) => app.all('/guarded', { preHandler: guard }, async () => ran()),
  'an array of hooks': (app, ran) =>
    app.all('/guarded', { onRequest: [nothing, guard, nothing], preHandler: [nothing] }, async () => ran()),
  'two guards': (app, ran) =>
    app.all('/guarded', { onRequest: [requireOAuth('files.read'), guard], preHandler: guard }, async () => ran()),
  'a hook that calls the next one': (app, ran) =>
    app.all(
      '/guarded',
      { onRequest: guard, preHandler: (_request, _reply, done) => done() },
      (_request, reply) => void reply.send(ran()),
    ),
  'a hook of the instance': (app, ran) => {
    app.register(async (child) => {
      child.addHook('preHandler', guard)
      child.all('/guarded', async () => ran())
    })
  },
  'a hook of the instance, before the body is read': (app, ran) => {
    app.register(async (child) => {
      child.addHook('onRequest', guard)
      child.register(async (grandchild) => grandchild.all('/guarded', async () => ran()))
    })
  },
  'the config of the route': (app, ran) => app.all('/guarded', { config: { oauth2: true } }, async () => ran()),
}

describeEachSession((variant) => {
  test.each(Object.entries(placements))('under %s', async (_name, place) => {
    let runs = 0
    const ran = () => ({ runs: ++runs })
    const { browser, url, logs } = await startApp({ variant, routes: (app) => place(app, ran) })
    const redirected = await browser.step(`${url}/guarded`)
    expect([redirected.status, redirected.body]).toEqual([302, ''])
    const refused = await browser.xhr(`${url}/guarded`, { method: 'POST', body: { a: 1 } })
    expect([refused.status, refused.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
    const head = await browser.step(`${url}/guarded`, { method: 'HEAD' })
    expect(head.status).toBe(401)
    expect(runs).toBe(0)
    const page = await browser.goto(`${url}/guarded`)
    expect([page.status, page.json()]).toEqual([200, { runs: 1 }])
    expect(logs.text()).not.toMatch(/ERR_HTTP_HEADERS_SENT|FST_ERR_REP_ALREADY_SENT|already sent/i)
  })

  test.each(['onRequest', 'preValidation', 'preHandler'] as const)('with declared guards in %s', async (hook) => {
    let runs = 0
    const { browser, url, logs } = await startApp({
      variant,
      client: { hook },
      routes: (app) => {
        app.get('/declared', { config: { oauth2: { scopes: 'files.read' } } }, async () => ({ runs: ++runs }))
      },
    })
    expect((await browser.step(`${url}/declared`)).status).toBe(302)
    expect((await browser.xhr(`${url}/declared`)).status).toBe(401)
    expect(runs).toBe(0)
    expect((await browser.goto(`${url}/declared`)).json()).toEqual({ runs: 1 })
    expect(logs.text()).not.toMatch(/ERR_HTTP_HEADERS_SENT|FST_ERR_REP_ALREADY_SENT|already sent/i)
  })

  test('and the app that answers itself, in whatever way, answers once', async () => {
    let runs = 0
    const answers: Record<string, NonNullable<OAuth2ClientOptions['onError']>> = {
      returned: (_error, _request, reply) => reply.code(418).send({ mine: true }),
      sent: (_error, _request, reply) => {
        reply.code(418).send({ mine: true })
      },
      later: async (_error, _request, reply) => {
        await new Promise((resolve) => setImmediate(resolve))
        reply.code(418).send({ mine: true })
      },
      value: (_error, _request, reply) => {
        reply.code(418)
        return { mine: true }
      },
      thrown: () => {
        throw Object.assign(new Error('mine'), { statusCode: 418 })
      },
    }
    const { browser, url, logs } = await startApp({
      variant,
      client: { onError: (...args) => answers[String((args[1].query as { how: string }).how)]?.(...args) },
      routes: (app) => {
        app.get('/guarded', { onRequest: guard }, async () => ({ runs: ++runs }))
      },
    })
    for (const how of Object.keys(answers)) {
      const page = await browser.xhr(`${url}/guarded?how=${how}`)
      expect([how, page.status]).toEqual([how, 418])
      expect(page.body).toContain('mine')
    }
    expect((await browser.xhr(`${url}/guarded?how=not`)).status).toBe(401)
    expect(runs).toBe(0)
    expect(logs.text()).not.toMatch(/ERR_HTTP_HEADERS_SENT|FST_ERR_REP_ALREADY_SENT|already sent/i)
  })
})

describe('somebody who hangs up before the answer is out', () => {
  const placed = { onRequest: guard, preValidation: [guard, nothing], preHandler: guard }

  test.each(Object.entries(placed))('does not get in through %s', async (hook, guards) => {
    const store = new SlowSessionStore(5)
    let runs = 0
    const { url, app } = await startApp({
      variant: sessionWith(store),
      routes: (instance) => {
        instance.all('/guarded', { [hook]: guards }, async () => ({ runs: ++runs }))
      },
    })
    // The answer waits for the session to be saved: time enough to be gone.
    store.delay = 150
    const gone: Promise<void>[] = []
    app.server.on('request', (request) => gone.push(new Promise((resolve) => request.once('close', resolve))))
    for (const accept of ['text/html', 'application/json']) {
      const { sets } = store
      const outgoing = httpRequest(`${url}/guarded`, { headers: { accept }, agent: false })
      outgoing.on('error', () => {})
      outgoing.end()
      await vi.waitFor(() => expect(store.sets).toBe(sets + 1), { interval: 5 })
      outgoing.destroy()
    }
    await Promise.all(gone)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(runs).toBe(0)
  })
})

function sessionWith(store: SlowSessionStore) {
  const [variant] = sessionVariants
  return { ...(variant as SessionVariant), register: (app: FastifyInstance) => variant?.register(app, { store }) }
}
