// What strangers send over HTTP: no input crashes, hangs, leads away from the app, or is told a secret.
import fc from 'fast-check'
import { beforeEach, describe, expect } from 'vitest'
import { sessionVariants } from '../helpers/session-plugins.js'
import { type FuzzedApp, fuzzedApp } from './app.js'
import { fuzz } from './fuzz.js'
import { headerValue, hostileQuery, hostileText, mutations, requestTarget } from './hostile.js'
import { CANARY } from './in-process-provider.js'

// One plugin that keeps sessions on the server, and one that keeps them in a cookie.
const variants = [sessionVariants[0], sessionVariants[2]] as const
let apps: FuzzedApp[]
const which = fc.constantFrom(0, 1)
const appOf = (index: number) => apps[index] as FuzzedApp

// In a hook of the test, so that they are closed when it ends.
beforeEach(async () => {
  apps = await Promise.all(variants.map((variant) => fuzzedApp({ variant: variant as NonNullable<typeof variant> })))
})

const METHODS = ['GET', 'GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']
const NAMES = ['return_url', 'scope', 'ticket', 'scopes', 'client_id', 'redirect_uri', 'state', 'token_uri', 'prompt']
const ANSWER = [
  'state',
  'code',
  'iss',
  'error',
  'error_description',
  'error_uri',
  'session_state',
  'response',
  'id_token',
]
const fetchHeaders = fc.record(
  {
    'sec-fetch-mode': fc.constantFrom('navigate', 'cors', 'no-cors', 'websocket', 'x'),
    'sec-fetch-dest': fc.constantFrom('document', 'iframe', 'image', 'empty', 'x'),
    'sec-fetch-site': fc.constantFrom('none', 'same-origin', 'same-site', 'cross-site', 'x'),
    'sec-purpose': fc.constantFrom('prefetch', 'prefetch;prerender', 'x'),
    accept: fc.oneof(fc.constantFrom('text/html', '*/*', 'application/json', ''), hostileText.map(headerValue)),
    'x-requested-with': fc.constant('XMLHttpRequest'),
    'x-forwarded-host': hostileText.map(headerValue),
    'x-forwarded-proto': fc.constantFrom('https', 'javascript', 'http,https'),
    referer: hostileText.map(headerValue),
    origin: hostileText.map(headerValue),
    host: fc.oneof(fc.constantFrom('evil.example', 'localhost', '127.0.0.1:1', '[::1]'), hostileText.map(headerValue)),
    'content-type': fc.constantFrom('application/x-www-form-urlencoded', 'application/json', 'text/plain'),
  },
  { requiredKeys: [] },
)

describe('anybody', () => {
  const query = hostileQuery(NAMES)
  fuzz('authorize queries', fc.tuple(which, query, fetchHeaders, fc.constantFrom(...METHODS)), async (input) => {
    const [index, text, headers, method] = input
    const app = appOf(index)
    const answer = await app.browser().get(`/oauth2authorize?${text}`, headers, method)
    app.harmless(answer)
    const { location } = answer.headers
    // Whatever was in the query, what reaches the provider is ours.
    if (answer.status !== 302 || !location?.startsWith('https:')) return
    const asked = new URL(location).searchParams
    expect(asked.get('client_id')).toBe('client')
    expect(asked.get('redirect_uri')).toMatch(
      /^http:\/\/(localhost|127\.0\.0\.1|\[::1\]|127\.\d+\.\d+\.\d+|[\w.-]+\.localhost)(:\d+)?\/oauth2callback$/,
    )
    expect([...asked.keys()].length).toBe(new Set(asked.keys()).size)
  })

  const answers = fc.tuple(
    which,
    hostileQuery(ANSWER, fc.oneof(hostileText, fc.constant('STATE'), fc.constant(`${CANARY}-code`))),
    fc.constantFrom('strange', 'right', 'right', 'changed'),
    mutations,
    fetchHeaders,
    fc.constantFrom(...METHODS),
  )
  fuzz('callback queries', answers, async ([index, text, kind, mutate, { host: _, ...headers }, method]) => {
    const app = appOf(index)
    const { browser, state } = await app.begun()
    const good = `code=${CANARY}-code&state=${state}`
    const written = { strange: text, right: `state=${state}&${text}`, changed: requestTarget(mutate(good)) }[kind]
    const query = written.replaceAll('STATE', state)
    const answer = await browser.get(`/oauth2callback?${query}`, headers, method)
    app.harmless(answer)
    expect(JSON.stringify([answer.body, answer.headers.location ?? ''])).not.toContain(state)
    if (answer.status === 303) expect(new URLSearchParams(query).getAll('state')).toEqual([state])
  })

  const cookies = fc.tuple(
    which,
    mutations,
    hostileText.map(headerValue),
    fc.constantFrom('callback', 'guard', 'raw'),
    fc.nat(),
  )
  fuzz('cookies', cookies, async ([index, mutate, raw, where, pick]) => {
    const app = appOf(index)
    if (where === 'callback') {
      const { browser, state } = await app.begun()
      const names = [...browser.cookies.keys()]
      const name = names[pick % names.length] as string
      const value = browser.cookies.get(name) as string
      const other = headerValue(mutate(value)).replace(/[;,\s]/g, '')
      browser.cookies.set(name, other)
      const answer = await browser.get(`/oauth2callback?code=c&state=${state}`)
      app.harmless(answer)
      return
    }
    const browser = await app.signedIn()
    if (where === 'raw') {
      app.harmless(await browser.get('/profile', { cookie: raw }))
      app.harmless(await browser.get('/oauth2callback?code=c&state=s', { cookie: raw }))
      return
    }
    const whole = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    app.harmless(await browser.get('/profile', { cookie: headerValue(mutate(whole)) }))
  })

  const paths = fc.constantFrom('/profile', '/token', '/', '/oauth2logout', '/oauth2callback/confirm')
  const requests = fc.tuple(
    which,
    paths,
    hostileQuery(['a', 'return_url']),
    fetchHeaders,
    fc.constantFrom(...METHODS),
    hostileText,
  )
  fuzz('requests to a guard', requests, async ([index, path, query, headers, method, body]) => {
    const app = appOf(index)
    const sends = method === 'POST' || method === 'PUT'
    const answer = await app.browser().get(`${path}?${query}`, headers, method, sends ? body : undefined)
    app.harmless(answer)
    if (path === '/profile' || path === '/token') expect(answer.status).not.toBe(200)
  })
})
