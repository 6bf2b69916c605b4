/** M4: the end in the middle of something. Everybody gets an answer, what was received is kept, and the process ends by itself. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { type Compiled, compileSources, ended } from '../helpers/processes.js'
import { type Endpoint, type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { answer, back, begin } from '../routes/flow.js'
import type { ClosingTask, Left, Order } from './closing-child.js'

const UNAVAILABLE = [503, 'FST_OAUTH2_PROVIDER_UNAVAILABLE']
const HOUR = 3_600_000
/** Milliseconds that the app waits for the provider where no answer comes. */
const IMPATIENT = 1_500

let compiled: Compiled
beforeAll(async () => {
  compiled = await compileSources(['test/attacks/closing-child'])
})
afterAll(() => compiled?.remove())

interface Running {
  readonly provider: ScriptedProvider
  readonly browser: Browser
  readonly url: string
  tell(order: Order): void
  /** Ends it, and tells what was left. Fails where the process does not end by itself, or not well. */
  end(): Promise<Left>
}

async function start(task: Partial<ClosingTask> = {}): Promise<Running> {
  const provider = await startScriptedProvider()
  provider.refreshTokenPolicy = 'rotate'
  provider.deviceAnswer = () => ({
    body: { device_code: 'dc', user_code: 'ABCD', verification_uri: provider.issuer, expires_in: 600, interval: 1 },
  })
  provider.tokenAnswer = ({ device_code }) =>
    device_code === undefined ? undefined : { status: 400, body: { error: 'authorization_pending' } }
  const { issuer, clientId } = provider
  const child: ChildProcess = compiled.start(
    'test/attacks/closing-child.js',
    {
      run: 'app',
      plugin: 'session',
      issuer,
      clientId,
      clientSecret: provider.clientSecret,
      timeout: IMPATIENT,
      ...task,
    },
    { talk: true, env: { NODE_ENV: '' } },
  )
  const over = ended(child)
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await over
    await provider.close()
  })
  const [{ url }] = await once(child, 'message')
  return {
    provider,
    browser: new Browser(),
    url,
    tell: (order) => child.send(order),
    async end() {
      if (child.connected) child.send('close')
      const { code, signal, output } = await over
      expect({ code, signal, output }).toEqual({ code: 0, signal: null, output: expect.stringMatching(/^\{.*\}$/) })
      return JSON.parse(output)
    },
  }
}

/** Asks for something, waits until the provider is busy with it, and ends the app then. */
async function during<T>(
  running: Running,
  endpoint: Endpoint,
  use: () => Promise<T>,
  then?: 'answer',
): Promise<{ got: T; left: Left }> {
  const hold = running.provider.hold(endpoint)
  const asked = use()
  await hold.arrived()
  const over = running.end()
  // By then it is closing, and waits for nobody but this.
  await new Promise((resolve) => setTimeout(resolve, 200))
  if (then === 'answer') hold.release()
  const [got, left] = await Promise.all([asked, over])
  hold.release()
  return { got, left }
}

/** The refresh token that the provider issued last. */
const lastIssued = ({ provider }: Running) => provider.secrets().findLast((secret) => secret.startsWith('rt-'))

describe.each(['session', 'secure-session'] as const)('M4: with @fastify/%s', (plugin) => {
  test('while the metadata is looked up: a 503', async () => {
    const running = await start({ plugin })
    const { got, left } = await during(running, 'discovery', () =>
      running.browser.goto(`${running.url}/oauth2authorize`),
    )
    expect(answer(got)).toEqual(UNAVAILABLE)
    expect(left).toEqual({ resources: [] })
  })

  test('while a code is exchanged and no answer comes: a 503', async () => {
    const running = await start({ plugin })
    const { callback } = await begin(running)
    const { got, left } = await during(running, 'token', () => back(running, callback))
    expect(answer(got)).toEqual(UNAVAILABLE)
    expect(left).toEqual({ resources: [] })
  })

  test('while a code is exchanged and the answer comes: signed in, and stored', async () => {
    const running = await start({ plugin, timeout: 20_000 })
    const { callback } = await begin(running)
    const { got, left } = await during(running, 'token', () => back(running, callback), 'answer')
    expect(got.status).toBe(303)
    expect(left).toEqual({ resources: [], refreshToken: lastIssued(running) })
  })

  test('while a token is refreshed and no answer comes: a 503, and what is stored is kept', async () => {
    const running = await start({ plugin })
    await running.browser.goto(`${running.url}/profile`)
    const before = lastIssued(running)
    running.tell({ advance: 2 * HOUR })
    const { got, left } = await during(running, 'token', () => running.browser.goto(`${running.url}/profile`))
    expect(answer(got)).toEqual(UNAVAILABLE)
    expect(left).toEqual({ resources: [], refreshToken: before })
  })

  test('while a token is refreshed and the answer comes: served, and the new refresh token is stored', async () => {
    const running = await start({ plugin, timeout: 20_000 })
    await running.browser.goto(`${running.url}/profile`)
    const before = lastIssued(running)
    running.tell({ advance: 2 * HOUR })
    const { got, left } = await during(running, 'token', () => running.browser.goto(`${running.url}/profile`), 'answer')
    expect(got.json()).toEqual({ user: 'sub-alice' })
    expect(left).toEqual({ resources: [], refreshToken: lastIssued(running) })
    expect(left.refreshToken).not.toBe(before)
  })

  test('while a token is refreshed for somebody who is gone: the new refresh token is stored all the same', async () => {
    const running = await start({ plugin, timeout: 20_000 })
    await running.browser.goto(`${running.url}/profile`)
    running.tell({ advance: 2 * HOUR })
    const controller = new AbortController()
    const hold = running.provider.hold('token')
    const asked = running.browser.xhr(`${running.url}/profile`, { signal: controller.signal }).catch(() => 'gone')
    await hold.arrived()
    controller.abort()
    expect(await asked).toBe('gone')
    const over = running.end()
    await new Promise((resolve) => setTimeout(resolve, 200))
    hold.release()
    expect(await over).toEqual({ resources: [], refreshToken: lastIssued(running) })
  })

  test('while a grant is revoked: gone here, and the provider is said not to have been told', async () => {
    const running = await start({ plugin })
    await running.browser.goto(`${running.url}/profile`)
    const { got, left } = await during(running, 'revoke', () => running.browser.xhr(`${running.url}/revoke`))
    expect(got.json()).toMatchObject({ local: true, remote: 'failed' })
    expect(left).toEqual({ resources: [] })
  })
})

test.each([
  ['no answer comes: counted as failed', undefined],
  ['the answer comes: stored', 'answer'],
] as const)('M4: while a sweep refreshes, and %s', async (_name, then) => {
  const running = await start(then ? { timeout: 20_000 } : {})
  await running.browser.goto(`${running.url}/profile`)
  const before = lastIssued(running)
  running.tell({ advance: 2 * HOUR })
  const { left } = await during(running, 'token', async () => running.tell('sweep'), then)
  expect(left.resources).toEqual([])
  expect(JSON.parse(left.outcome ?? '{}')).toMatchObject(then ? { refreshed: 1 } : { refreshed: 0, refreshFailed: 1 })
  expect(left.refreshToken === before).toBe(!then)
  expect(left.refreshToken).toBe(then ? lastIssued(running) : before)
})

test('M4, L7: a device flow that is ended between two questions leaves nothing open', async () => {
  const running = await start({ run: 'device' })
  expect(running.provider.count('token')).toBe(1)
  expect(await running.end()).toEqual({ resources: [], outcome: 'FST_OAUTH2_FLOW_ABORTED' })
})

test('M4, L7: a loopback listener that is ended leaves no port open', async () => {
  const running = await start({ run: 'loopback' })
  const { port } = new URL(new URL(running.url).searchParams.get('redirect_uri') as string)
  expect(await running.end()).toEqual({ resources: [], outcome: 'FST_OAUTH2_FLOW_ABORTED' })
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow()
})
