/** A guard that was written down wrongly says which option it is and what to write, before it stands before anything. */
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { type GuardConfig, oauthAware, requireOAuth } from '../../src/index.js'
import { startApp } from '../helpers/app.js'

const KNOWN = 'is not known. Known are: client, account, resume, acrValues, maxAge.'
const resumable = () => requireOAuth(undefined, { resume: true })

function messageOf(make: () => unknown): unknown {
  try {
    make()
  } catch (error) {
    expect(error).toMatchObject({ code: 'FST_OAUTH2_OPTION_INVALID' })
    return (error as Error).message
  }
  return 'nothing was thrown'
}

/** Declares routes where the plugin has loaded, and returns what was thrown. */
async function declare(routes: (app: FastifyInstance) => void): Promise<unknown> {
  let message: unknown
  await startApp({
    routes: (app) => {
      app.register(async (child) => {
        message = messageOf(() => routes(child))
      })
    },
  })
  return message
}

describe('a mistake is named', () => {
  const required = (options: object) => () => requireOAuth([], options)
  test.each<[string, () => unknown, string]>([
    ['two words for a scope', () => requireOAuth(['two words']), '"requireOAuth(scopes)"'],
    ['an option that is none', required({ clients: 'x' }), `"requireOAuth({ clients })": ${KNOWN}`],
    ['an option of every object', required({ toString: 'x' }), `"requireOAuth({ toString })": ${KNOWN}`],
    ['an empty name', required({ client: '' }), '"requireOAuth({ client })": must be a non-empty string.'],
    [
      'an account that is no text',
      required({ account: 5 }),
      '"requireOAuth({ account })": must be a non-empty string.',
    ],
    ['a word for a flag', required({ resume: 'yes' }), '"requireOAuth({ resume })": must be true or false.'],
    ['an age of less than nothing', required({ maxAge: -1 }), '"requireOAuth({ maxAge })"'],
    ['classes that are one word', required({ acrValues: 'phr' }), '"requireOAuth({ acrValues })"'],
    ['the name of a client', () => oauthAware({ client: 5 } as object), '"oauthAware({ client })": must be'],
    [
      'scopes where everybody passes',
      () => oauthAware({ scopes: 'files.read' } as object),
      '"oauthAware({ scopes })": is not known: this one lets everybody pass. Write requireOAuth(scopes, options).',
    ],
    [
      'a second option where everybody passes',
      () => oauthAware({ client: 'x', account: 'y' } as object),
      '"oauthAware({ account })"',
    ],
  ])('%s', (_name, make, message) => {
    expect(messageOf(make)).toContain(message)
  })

  test('and what is left out, or left open, is none', () => {
    const open = { client: undefined, account: undefined, resume: undefined, acrValues: undefined, maxAge: undefined }
    for (const make of [
      () => requireOAuth(undefined, open as object),
      () => requireOAuth([], { acrValues: ['phr'], maxAge: 0 }),
      () => requireOAuth('', { resume: false }),
      () => oauthAware({ client: undefined } as object),
    ]) {
      expect(messageOf(make)).toBe('nothing was thrown')
    }
  })
})

test('a guard without its parentheses lets nobody pass, and says so', async () => {
  let runs = 0
  const { browser, url } = await startApp({
    routes: (app) => {
      app.get('/required', { onRequest: requireOAuth as never }, async () => ({ runs: ++runs }))
      app.get('/aware', { onRequest: oauthAware as never }, async () => ({ runs: ++runs }))
    },
  })
  for (const [path, name] of [
    ['/required', 'requireOAuth'],
    ['/aware', 'oauthAware'],
  ] as const) {
    const { status, body } = await browser.xhr(url + path)
    expect([status, JSON.parse(body).message]).toEqual([
      500,
      `Option "${name}": makes a guard, and is not one itself. Write it with parentheses: ${name}().`,
    ])
  }
  expect(runs).toBe(0)
})

describe('a guard that keeps forms, in onRequest', () => {
  const ok = async () => ({})
  test.each<[string, () => unknown]>([
    ['alone', () => resumable()],
    ['after another hook', () => [requireOAuth(), resumable()]],
    ['before another hook', () => [resumable(), ok]],
  ])('%s is a mistake when the route is declared', async (_name, onRequest) => {
    expect(await declare((app) => app.post('/x', { onRequest: onRequest() as never }, ok))).toBe(
      'Option "requireOAuth({ resume })": cannot work in onRequest. Put the guard into preValidation or preHandler: there is no body before.',
    )
  })

  test('is none of the other guards', async () => {
    const onRequest = [requireOAuth(undefined, { resume: false }), oauthAware()]
    expect(await declare((app) => app.post('/x', { onRequest, preHandler: resumable() }, ok))).toBe(
      'nothing was thrown',
    )
  })
})

describe('config.oauth2', () => {
  const known = 'is not known. Known are: scopes, client, account, acrValues, maxAge.'
  test.each<[unknown, string]>([
    ['yes', `"config.oauth2": must be true, false, 'aware' or { scopes, client, account, acrValues, maxAge }.`],
    [null, '"config.oauth2": must be true'],
    [{ scope: 'files.read' }, `"config.oauth2.scope": ${known}`],
    [{ client: 'oauth2', account: 'x', maxAge: 1, acrValues: ['x'], scop: '' }, `"config.oauth2.scop": ${known}`],
    [{ resume: true }, '"config.oauth2.resume": cannot be declared: write requireOAuth(scopes, { resume: true })'],
    [{ resume: false }, '"config.oauth2.resume": cannot be declared'],
  ])('%j is named', async (oauth2, message) => {
    expect(
      await declare((app) => app.get('/x', { config: { oauth2: oauth2 as GuardConfig } }, async () => 1)),
    ).toContain(message)
  })

  test('may say everything at once, and each of it counts', async () => {
    const { browser, url } = await startApp({
      routes: (app) => {
        const oauth2 = { scopes: 'files.read', client: 'oauth2', account: 'sub-bob', acrValues: ['phr'], maxAge: 60 }
        app.get('/all', { config: { oauth2 } }, async () => ({}))
        app.get('/fresh', { config: { oauth2: { maxAge: 60 } } }, async () => ({}))
      },
    })
    const sent = await browser.step(`${url}/all`)
    const asked = new URL(sent.location as string).searchParams
    expect([asked.get('scope'), asked.get('acr_values'), asked.get('max_age')]).toEqual([
      'openid email files.read',
      'phr',
      '60',
    ])
    await browser.goto(`${url}/profile`)
    const told = await browser.xhr(`${url}/fresh`)
    expect([told.status, told.headers.get('www-authenticate')]).toEqual([
      401,
      'Bearer error="insufficient_user_authentication", max_age="60"',
    ])
  })
})
