import Fastify from 'fastify'
import { afterEach, expect, it } from 'vitest'
import { Browser } from './browser.js'
import { listen } from './listen.js'
import { captureLogs } from './log-capture.js'
import { describeEachSession, SlowSessionStore } from './session-plugins.js'

describeEachSession((variant) => {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger })
  const store = variant.name.includes('slow') ? new SlowSessionStore() : undefined
  variant.register(app, store && { store })
  app.get('/', async (request) => {
    const session = request.session as unknown as { get(key: string): number; set(key: string, value: number): void }
    const visits = (session.get('visits') ?? 0) + 1
    session.set('visits', visits)
    return { visits }
  })
  afterEach(() => app.close())

  it('keeps sessions over http', async () => {
    const url = await listen(app)
    const browser = new Browser()
    expect((await browser.goto(url)).json()).toEqual({ visits: 1 })
    expect((await browser.goto(url)).json()).toEqual({ visits: 2 })
    expect(browser.cookies()).toMatchObject([
      { name: variant.cookieName, path: '/', sameSite: 'lax', secure: false, httpOnly: true },
    ])
    expect((await new Browser().goto(url)).json()).toEqual({ visits: 1 })
    expect(lines.some((line) => line.includes('incoming request'))).toBe(true)

    if (!store) return
    expect(store).toMatchObject({ gets: 1, sets: 3, destroys: 0 })
    store.failing = 'get'
    expect((await browser.goto(url)).status).toBe(500)
  })
})
