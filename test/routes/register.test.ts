/** Which routes of ours there are, what they answer to other methods, and what of them gets into the log. */
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const storage = () => memoryStore()

/** Method and path, and what comes back: the status, and which methods are said to be allowed. */
async function ask({ url }: TestApp, method: 'GET' | 'POST' | 'PUT', path: string) {
  const response = await fetch(url + path, {
    method,
    redirect: 'manual',
    ...(method === 'GET' ? {} : { headers: FORM }),
  })
  const { message } = (response.headers.get('content-type') ?? '').includes('json')
    ? ((await response.json()) as { message: string })
    : { message: '' }
  return { status: response.status, allow: response.headers.get('allow'), message }
}

describe('what is not asked for is not there', () => {
  test.each<[string, TestAppOptions['client'], Record<string, number>]>([
    [
      'usually',
      {},
      { 'GET /oauth2logout': 404, 'POST /oauth2callback/confirm': 404, 'POST /oauth2logout/backchannel': 404 },
    ],
    ['without a logout', { logout: false }, { 'POST /oauth2logout': 404 }],
    [
      'with nothing but logouts of the provider',
      { logout: false, backchannelLogout: true },
      { 'POST /oauth2logout': 404, 'POST /oauth2logout/backchannel': 400, 'POST /oauth2callback/confirm': 404 },
    ],
    [
      'with sign-outs that lead to the provider',
      { providerLogout: true },
      { 'GET /oauth2logout': 400, 'POST /oauth2logout': 403, 'POST /oauth2callback/confirm': 404 },
    ],
    [
      'with users of the app',
      { userKey: () => 'u1' },
      { 'POST /oauth2logout': 404, 'POST /oauth2callback/confirm': 403 },
    ],
  ])('%s', async (_name, client = {}, expected) => {
    const app = await startApp({ client, storage: storage() })
    const seen: Record<string, number> = {}
    for (const route of Object.keys(expected)) {
      const [method, path] = route.split(' ') as ['GET' | 'POST', string]
      seen[route] = (await ask(app, method, path)).status
    }
    expect(seen).toEqual(expected)
  })
})

test('another method is refused with the one that is meant', async () => {
  const client = { backchannelLogout: true, userKey: () => 'u1' }
  const app = await startApp({ client, storage: storage() })
  for (const path of ['/oauth2authorize', '/oauth2callback', '/oauth2callback/resume']) {
    for (const method of ['POST', 'PUT'] as const) {
      expect(await ask(app, method, path)).toEqual({
        status: 405,
        allow: 'GET',
        message: expect.stringContaining('with GET'),
      })
    }
  }
  for (const path of ['/oauth2callback/confirm', '/oauth2logout/backchannel']) {
    for (const method of ['GET', 'PUT'] as const) {
      expect(await ask(app, method, path)).toEqual({
        status: 405,
        allow: 'POST',
        message: expect.stringContaining('with POST'),
      })
    }
  }
})

test('a hook of the app, such as one that limits rates, runs for each of our routes', async () => {
  const seen: string[] = []
  const onRequest = async ({ method, routeOptions }: { method: string; routeOptions: { url?: string | undefined } }) =>
    void seen.push(`${method} ${routeOptions.url}`)
  const app = await startApp({
    storage: storage(),
    client: { routeOptions: { onRequest }, backchannelLogout: true, userKey: () => 'u1', logout: true },
  })
  const routes = [
    'GET /oauth2authorize',
    'GET /oauth2callback',
    'GET /oauth2callback/resume',
    'POST /oauth2callback/confirm',
    'POST /oauth2logout',
    'POST /oauth2logout/backchannel',
  ]
  for (const route of routes) {
    const [method, path] = route.split(' ') as ['GET' | 'POST', string]
    await ask(app, method, path)
  }
  expect(seen).toEqual(routes)
})

test('the log has the whole path, and of a query only that there was one', async () => {
  const app = await startApp()
  await ask(app, 'GET', '/oauth2callback?code=secret&state=secret')
  await ask(app, 'GET', '/oauth2callback')
  const urls = app.logs.lines.map((line) => (JSON.parse(line) as { req?: { url: string } }).req?.url).filter(Boolean)
  expect(urls).toEqual(['/oauth2callback?…', '/oauth2callback'])
  expect(app.logs.text()).not.toContain('secret')
})
