/** What docs/testing.md says that an app answers to each fault, asked of an app. */
import { readFileSync } from 'node:fs'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import Fastify from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import {
  type AuthorizationServerOptions,
  type Faults,
  fakeClock,
  signIn,
  startAuthorizationServer,
} from '../../src/testing/index.js'
import { Browser } from '../helpers/browser.js'
import { listen } from '../helpers/listen.js'

type Endpoint = Exclude<keyof Faults, 'tokenOnce'>

async function start(options: AuthorizationServerOptions = {}) {
  const clock = fakeClock()
  const server = await startAuthorizationServer({
    clock: clock.now,
    scopes: { 'files.read': {} },
    api: { '/files': { scope: 'files.read', body: ['a.txt'] } },
    autoApprove: { user: 'alice' },
    ...options,
  })
  onTestFinished(() => server.close())
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(cookie)
  await app.register(session, { secret: 'a secret of at least thirty-two characters', cookie: { secure: 'auto' } })
  await app.register(oauth2Client, {
    provider: { issuer: server.issuer },
    clientId: server.clientId,
    clientSecret: server.clientSecret,
    storage: memoryStore({ clock: clock.now }),
    clock: clock.now,
    timeout: 1_800,
  })
  app.get('/files', { onRequest: requireOAuth('files.read') }, async (request, reply) => {
    const response = await request.oauth2.fetch(`${server.issuer}/files`)
    return reply.code(response.status).send(response.headers.get('content-type'))
  })
  const url = await listen(app)
  return {
    clock,
    server,
    break: (endpoint: Endpoint, fault: string | string[]) => Object.assign(server.faults, { [endpoint]: fault }),
    /** What a person gets to see who comes for the first time. */
    async signIn() {
      const { status, body } = await new Browser().goto(`${url}/files`)
      return { status, code: codeIn(body) }
    },
    /** Somebody whose access token has expired. */
    async expired() {
      const grant = { user: 'alice', scopes: 'openid email files.read' }
      const { headers } = await signIn(app, { ...grant, ...(await server.issueTokens(grant)) })
      clock.advance(3_600_000)
      return async () => {
        const { statusCode, body } = await app.inject({ url: '/files', headers: { ...headers, accept: 'text/html' } })
        return { status: statusCode, code: codeIn(body) }
      }
    },
  }
}

const codeIn = (text: string) => /FST_OAUTH2_\w+/.exec(text)?.[0]

const rows = readFileSync(new URL('../../docs/testing.md', import.meta.url), 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => cells.length === 7 && /^`\w+`$/.test(cells[1] as string))
  .map(([, endpoint, faults, , atSignIn, atRefresh]) => ({
    endpoint: endpoint!.replaceAll('`', '') as Endpoint,
    faults: [...faults!.matchAll(/`(\w+)`/g)].map(([, name]) => name as string),
    atSignIn: atSignIn as string,
    atRefresh: atRefresh as string,
  }))

/** Of faults that are the same anywhere, these stand for all where that takes long. */
const SOME: readonly string[] = ['down', '500', 'html', 'wrong_issuer']

const promised = (cell: string) => ({ status: Number(cell.slice(0, 3)), code: codeIn(cell.split(';')[0] as string) })

describe.each(rows)('$endpoint', ({ endpoint, faults, atSignIn, atRefresh }) => {
  test.each(faults)('%s', async (fault) => {
    const app = await start()
    if (endpoint === 'api') {
      const ask = await app.expired()
      app.break(endpoint, fault)
      expect(await ask()).toEqual({ status: fault === 'html' ? 200 : Number(fault), code: undefined })
      return
    }
    app.break(endpoint, fault)
    expect(await app.signIn()).toEqual(promised(atSignIn))
    // Where nothing is promised, or the same as of others.
    if (atRefresh === 'nothing of it' || (endpoint !== 'token' && !SOME.includes(fault))) return
    // Another server, since this one is remembered for what it did.
    const again = await start()
    const ask = await again.expired()
    again.break(endpoint, fault)
    expect(await ask()).toEqual(promised(atRefresh))
  })
})

test('the page tells of every name', () => {
  const types = readFileSync(new URL('../../src/testing/authorization-server/fault-types.ts', import.meta.url), 'utf8')
  const unions = [...types.matchAll(/^export type \w+Fault =([^*]*?)\n\n/gms)].map(([, names]) => names).join()
  const names = [...unions.matchAll(/'(\w+)'/g)].map(([, name]) => name as string)
  expect(names.length).toBeGreaterThan(20)
  const told = new Set(rows.flatMap(({ faults }) => faults))
  expect(names.filter((name) => !told.has(name))).toEqual([])
})

test('a list is for as many requests as it is long, of any endpoint', async () => {
  const { server } = await start()
  const paths = {
    token: '/token',
    jwks: '/jwks',
    authorization: '/auth',
    discovery: '/.well-known/openid-configuration',
  }
  for (const [endpoint, path] of Object.entries(paths)) {
    server.faults = { [endpoint]: ['500', undefined, '502'] }
    const method = endpoint === 'token' ? 'POST' : 'GET'
    const statuses: number[] = []
    for (let count = 0; count < 4; count += 1) statuses.push((await fetch(server.issuer + path, { method })).status)
    expect(statuses[1]).toBe(statuses[3])
    expect(statuses).toEqual([500, statuses[3], 502, statuses[3]])
    expect(statuses[3]).toBeLessThan(500)
  }
})

test('rotation with reuse detection: the answer that was lost ends the grant, and the person is asked', async () => {
  const app = await start({ rotateRefreshTokens: true })
  const ask = await app.expired()
  app.break('token', ['lost_answer'])
  expect(await ask()).toEqual({ status: 503, code: 'FST_OAUTH2_PROVIDER_UNAVAILABLE' })
  // Whoever sent it may be alive: that is given up after a while, and after having been seen twice, some seconds apart.
  app.clock.advance(31_000)
  await expect.poll(async () => (await ask()).status, { interval: 500, timeout: 10_000 }).toBe(302)
  expect(app.server.tokenRequests).toHaveLength(2)
})

test('without a refresh token, whoever comes after an hour is asked again', async () => {
  const { server, signIn, clock } = await start({ tweak: { omitRefreshToken: true } })
  expect((await signIn()).status).toBe(200)
  clock.advance(3_600_000)
  expect((await signIn()).status).toBe(200)
  expect(server.tokenRequests.map(({ grantType }) => grantType)).toEqual(['authorization_code', 'authorization_code'])
})

test('clocks that differ by more than a minute', async () => {
  const { server, signIn } = await start()
  server.clockSkew = 30_000
  expect((await signIn()).status).toBe(200)
  server.clockSkew = 300_000
  expect(await signIn()).toEqual({ status: 502, code: 'FST_OAUTH2_EXCHANGE_FAILED' })
  server.clockSkew = -7_200_000
  expect(await signIn()).toEqual({ status: 502, code: 'FST_OAUTH2_EXCHANGE_FAILED' })
})

test('a clock for both: what has passed for one has passed for the other', async () => {
  const { server, clock } = await start()
  const { accessToken } = await server.issueTokens({ user: 'alice', scopes: 'files.read' })
  const authorization = `Bearer ${accessToken}`
  const status = async () => (await fetch(`${server.issuer}/files`, { headers: { authorization } })).status
  const active = async () => {
    const headers = { authorization: `Basic ${btoa(`${server.clientId}:${server.clientSecret}`)}` }
    const body = new URLSearchParams({ token: accessToken })
    return (await fetch(`${server.issuer}/token/introspection`, { method: 'POST', headers, body })).json()
  }
  clock.advance(3_590_000)
  expect(await status()).toBe(200)
  // To whole seconds, some times over.
  expect(Math.abs((await active()).exp - clock.now() / 1_000 - 10)).toBeLessThan(5)
  clock.advance(16_000)
  expect(await status()).toBe(401)
})
