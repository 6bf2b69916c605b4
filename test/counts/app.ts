/** An app of which everything that can be counted is counted, over each way to keep sessions and credentials. */
import type { FastifyInstance } from 'fastify'
import { onTestFinished, vi } from 'vitest'
import { type CredentialStore, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp } from '../helpers/app.js'
import type { Browser } from '../helpers/browser.js'
import { fakeClock } from '../helpers/clock.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'
import { startCountingCalls, stopCountingCalls } from './calls.js'
import { macrotask, quiet, startCountingCrypto, stopCountingCrypto } from './crypto.js'
import type { Counts, Expected } from './expect.js'
import { add, since, type Tally, tallyOf } from './tally.js'

export const SETUPS = [
  '@fastify/session, session',
  '@fastify/session, memory',
  '@fastify/session, shared',
  '@fastify/session, shared without cache',
  '@fastify/secure-session, session',
  '@fastify/secure-session, memory',
  '@fastify/secure-session, shared',
  '@fastify/secure-session, shared without cache',
] as const

/** Where sessions are, and where credentials are. */
export type Setup = (typeof SETUPS)[number]

/** Where credentials are. A session that is encrypted as a whole is a place of its own: we seal nothing in it. */
export type Place = 'session' | 'encrypted session' | 'memory' | 'shared' | 'shared without cache'

/** A table has a row for each place: which plugin keeps the session makes no difference, but for calls of its store. */
export type Table = Readonly<Record<Place, Expected>>

/** @param session calls of the session store where there is one, unless the row has its own */
export function rowFor(setup: Setup, table: Table, session: Tally): Expected {
  const [plugin, storage] = setup.split(', ') as [string, Exclude<Place, 'encrypted session'>]
  if (plugin === '@fastify/session') return { session, ...table[storage] }
  return table[storage === 'session' ? 'encrypted session' : storage]
}

export interface CountedApp extends TestApp {
  readonly setup: Setup
  /** What `run` and all that it set off cost, in requests of these browsers. */
  count(run: () => Promise<void>, ...browsers: Browser[]): Promise<Counts>
  /** A guarded request of the browser; what the answer has to be is looked at. */
  request(browser?: Browser): Promise<void>
  /** From a guarded page, or another one, to the provider and back. */
  signIn(browser?: Browser, path?: string): Promise<void>
  /** That many guarded requests of the browser, which come to the guard in one and the same moment. */
  atOnce(count: number): Promise<void>
}

/** Seconds; less than those after which a key is noted again, so that this is no part of a refresh. */
const EXPIRES_IN = 300

/** Longer than access tokens live. */
export const UNTIL_EXPIRED = EXPIRES_IN * 1_000 + 1

/** @param routes more of them */
export async function startCountedApp(setup: Setup, routes?: (fastify: FastifyInstance) => void): Promise<CountedApp> {
  const [plugin, storage] = setup.split(', ') as [string, string]
  const clock = fakeClock()
  // What was read a moment ago is given up by this clock too: on a slow machine a moment is soon over.
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => clock.now())
  onTestFinished(() => spy.mockRestore())
  const sessions = new SlowSessionStore(0)
  const variant = sessionVariants.find(({ name }) => name.startsWith(plugin)) as (typeof sessionVariants)[number]
  const store = countedStore(storage.startsWith('shared'))
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  provider.expiresIn = EXPIRES_IN
  /** Lets those that are kept before the guard go on to it. */
  let kept: (() => void)[] | undefined
  const app = await startApp({
    clock,
    provider,
    variant: {
      ...variant,
      register: (fastify) => variant.register(fastify, { store: sessions, rolling: false, saveUninitialized: false }),
    },
    storage: storage === 'session' ? 'session' : store,
    client: {
      encryptionKeys: 'k'.repeat(32),
      ...(storage.endsWith('without cache') && { cacheMaxAge: 0 }),
    },
    routes(fastify) {
      fastify.addHook('onRequest', (request, _reply, done) => {
        if (kept && request.url === '/guarded') kept.push(done)
        else done()
      })
      routes?.(fastify)
      fastify.get('/guarded', { onRequest: requireOAuth() }, async () => 'passed')
    },
  })

  async function request(browser = app.browser): Promise<void> {
    const page = await browser.step(`${app.url}/guarded`)
    if (page.body !== 'passed') throw new Error(`a guarded request was answered with ${page.status}: ${page.body}`)
  }

  return {
    ...app,
    setup,
    request,
    async atOnce(count) {
      const waiting: (() => void)[] = []
      kept = waiting
      const requests = Promise.all(Array.from({ length: count }, () => request()))
      while (waiting.length < count) await macrotask()
      kept = undefined
      for (const goOn of waiting) goOn()
      await requests
    },
    async signIn(browser = app.browser, path = '/guarded') {
      const page = await browser.goto(app.url + path)
      if (page.body !== 'passed') throw new Error(`a sign-in ended with ${page.status}: ${page.body}`)
    },
    async count(run, ...browsers) {
      const watched = browsers.length > 0 ? browsers : [app.browser]
      await quiet()
      const before = { store: { ...store.calls }, session: sessionCalls(sessions), asked: provider.requests.length }
      const logged = watched.map((browser) => browser.log.length)
      startCountingCrypto()
      startCountingCalls()
      await run()
      await quiet()
      const calls = stopCountingCalls()
      const crypto = stopCountingCrypto()
      return {
        store: since(before.store, store.calls),
        session: since(before.session, sessionCalls(sessions)),
        cookies: cookiesIn(watched.flatMap(({ log }, index) => log.slice(logged[index]))),
        provider: tallyOf(provider.requests.slice(before.asked).map(({ endpoint }) => endpoint)),
        crypto: crypto.calls,
        openedAgain: crypto.openedAgain,
        objects: calls.objects,
      }
    },
  }
}

function cookiesIn(log: Browser['log']): Tally {
  const names = log.flatMap(({ headers }) => headers.filter(([name]) => name.toLowerCase() === 'set-cookie'))
  return tallyOf(names.map(([, value]) => (value.includes('oauth2client.') ? 'ours' : 'session')))
}

function sessionCalls({ gets, sets, destroys }: SlowSessionStore): Tally {
  return { get: gets, set: sets, destroy: destroys }
}

function countedStore(shared: boolean): CredentialStore & { readonly calls: Tally } {
  const calls: Tally = {}
  const store = memoryStore()
  const peek: CredentialStore['peek'] = (key) => {
    add(calls, 'peek')
    return store.peek(key)
  }
  return {
    calls,
    shared,
    // What others write too cannot be at hand.
    ...(shared ? {} : { peek }),
    get(key) {
      add(calls, 'get')
      return store.get(key)
    },
    put(key, value, expected) {
      add(calls, 'put')
      return store.put(key, value, expected)
    },
    delete(key, expected) {
      add(calls, 'delete')
      return store.delete(key, expected)
    },
    list(prefix) {
      add(calls, 'list')
      return store.list(prefix)
    },
    async lock(key, ttlMs) {
      add(calls, 'lock')
      const lock = await store.lock(key, ttlMs)
      return (
        lock && {
          renew(ms) {
            add(calls, 'renew')
            return lock.renew(ms)
          },
          release() {
            add(calls, 'release')
            return lock.release()
          },
        }
      )
    },
  }
}
