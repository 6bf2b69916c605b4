import cookie from '@fastify/cookie'
import secureSession from '@fastify/secure-session'
import session from '@fastify/session'
import type { FastifyInstance } from 'fastify'
import { describe } from 'vitest'
import { SlowSessionStore } from './slow-session-store.js'

export { SlowSessionStore }

const secret = 'session-secret-that-is-long-enough-for-everyone'
const key = Buffer.alloc(32, 'secure-session-key')

export interface SessionOptions {
  /** Over the defaults; `secure: 'auto'` is for @fastify/session only. */
  cookie?: {
    path?: string
    sameSite?: 'lax' | 'strict' | 'none'
    secure?: boolean | 'auto'
    /** In the plugin's own unit: ms for @fastify/session, seconds for @fastify/secure-session. */
    maxAge?: number
  }
  /** A store to look into or to break; ignored by @fastify/secure-session. */
  store?: SlowSessionStore
  /** For @fastify/session only. */
  rolling?: boolean
  /** For @fastify/session only. */
  saveUninitialized?: boolean
}

export interface SessionVariant {
  readonly name: string
  readonly kind: 'session' | 'secure-session'
  readonly cookieName: string
  /** Whether `options.store` is where the sessions are: true for every variant of @fastify/session. */
  readonly hasStore: boolean
  /** Registers @fastify/cookie and the session plugin; nothing to wait for, Fastify loads them in order. */
  register(app: FastifyInstance, options?: SessionOptions): void
}

function serverSide(name: string, defaultStore: () => SlowSessionStore | undefined): SessionVariant {
  return {
    name,
    kind: 'session',
    cookieName: 'sessionId',
    hasStore: true,
    register(app, options = {}) {
      const store = options.store ?? defaultStore()
      app.register(cookie)
      app.register(session, {
        secret,
        rolling: options.rolling ?? false,
        saveUninitialized: options.saveUninitialized ?? true,
        cookie: { path: '/', secure: 'auto', sameSite: 'lax', ...options.cookie },
        ...(store && { store }),
      })
    },
  }
}

export const sessionVariants: SessionVariant[] = [
  serverSide('@fastify/session (sync memory store)', () => undefined),
  serverSide('@fastify/session (slow async store)', () => new SlowSessionStore()),
  {
    name: '@fastify/secure-session',
    kind: 'secure-session',
    cookieName: 'session',
    hasStore: false,
    register(app, options = {}) {
      app.register(cookie)
      app.register(secureSession, {
        key,
        cookieName: 'session',
        cookie: { path: '/', secure: false, httpOnly: true, sameSite: 'lax', ...options.cookie },
      })
    },
  },
]

/** The same tests with every session plugin that the package supports. */
export function describeEachSession(define: (variant: SessionVariant) => void): void {
  for (const variant of sessionVariants) describe(variant.name, () => define(variant))
}
