import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { Credentials } from '../../src/credentials/index.js'
import { runPasteFlow } from '../../src/installed/index.js'
import { Browser } from '../helpers/browser.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'

let provider: ScriptedProvider
beforeEach(async () => {
  provider = await startScriptedProvider({ clientSecret: null })
})
afterEach(() => provider.close())

const run = (ask: (url: string) => Promise<string>) =>
  runPasteFlow({ provider: { issuer: provider.issuer }, clientId: provider.clientId, ask })

/** The address that a browser ends at, where nothing answers. */
async function endOf(url: string): Promise<string> {
  const page = await new Browser().goto(url, { stopAt: (next) => next.hostname === '127.0.0.1' && next.search !== '' })
  return page.location as string
}

test.each<[string, (end: string) => string]>([
  ['the address', (end) => end],
  ['with quotes and a line feed', (end) => `  '${end}'\n`],
  ['wrapped by a terminal', (end) => `${end.slice(0, 60)}\r\n  ${end.slice(60)}`],
  ['without its scheme', (end) => end.replace('http://', '')],
  ['its query alone', (end) => end.slice(end.indexOf('?'))],
  ['its query without the question mark', (end) => end.slice(end.indexOf('?') + 1)],
])('%s can be pasted, and PKCE goes with the code', async (_, write) => {
  let asked = ''
  const credentials = await run(async (url) => {
    asked = url
    return write(await endOf(url))
  })
  expect(credentials).toBeInstanceOf(Credentials)
  expect(credentials.userId).toBe('sub-alice')
  expect(new URL(asked).searchParams.get('code_challenge_method')).toBe('S256')
  expect(provider.requests.find(({ endpoint }) => endpoint === 'token')?.params.code_verifier).toBeTruthy()
})

test.each<[string, (end: string) => string | Promise<string>]>([
  ['nothing', () => ''],
  ['the code alone, which could be anybody’s', (end) => new URL(end).searchParams.get('code') as string],
  ['an address without a state', (end) => end.replace(/[?&]state=[^&]*/, '?')],
  ['an address of another state', (end) => end.replace(/state=[^&]*/, 'state=another')],
  ['an address of another issuer', (end) => end.replace(/iss=[^&]*/, 'iss=https%3A%2F%2Fattacker.example')],
])('%s is refused, and nothing is sent', async (_, write) => {
  provider.metadata = (metadata) => ({ ...metadata, authorization_response_iss_parameter_supported: true })
  provider.authorizeAnswer = (_params, defaults) => ({ ...defaults(), iss: provider.issuer })
  await expect(run(async (url) => write(await endOf(url)))).rejects.toMatchObject({ code: 'FST_OAUTH2_STATE_INVALID' })
  expect(provider.count('token')).toBe(0)
})

test('an address that another authorization ended at is refused', async () => {
  let other = ''
  await run(async (url) => {
    other = await endOf(url)
    return other
  })
  await expect(run(async () => other)).rejects.toMatchObject({ code: 'FST_OAUTH2_STATE_INVALID' })
  expect(provider.count('token')).toBe(1)
})

test('a refusal that is pasted is a refusal', async () => {
  provider.authorizeAnswer = ({ state }) => ({ error: 'access_denied', state: state as string, iss: provider.issuer })
  await expect(run(endOf)).rejects.toMatchObject({ code: 'FST_OAUTH2_ACCESS_DENIED' })
})

test('an abort ends the wait for the paste', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const waiting = runPasteFlow({
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    signal: controller.signal,
    ask: () => {
      controller.abort(reason)
      return new Promise(() => {})
    },
  })
  await expect(waiting).rejects.toMatchObject({ code: 'FST_OAUTH2_FLOW_ABORTED', cause: reason })
})

test('who was aborted before is asked nothing', async () => {
  const reason = new Error('enough')
  let asked = 0
  const aborted = runPasteFlow({
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    signal: AbortSignal.abort(reason),
    ask: async () => {
      asked++
      return ''
    },
  })
  await expect(aborted).rejects.toMatchObject({ code: 'FST_OAUTH2_FLOW_ABORTED', cause: reason })
  expect(asked).toBe(0)
})

test('a prompt that fails because of the abort ends no process', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  const controller = new AbortController()
  const waiting = runPasteFlow({
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    signal: controller.signal,
    ask: async () => {
      controller.abort()
      throw new Error('the terminal was closed')
    },
  })
  await expect(waiting).rejects.toMatchObject({ code: 'FST_OAUTH2_FLOW_ABORTED' })
  await new Promise(setImmediate)
  expect(unhandled).toEqual([])
})

test.each([
  ['resolves to nothing', async () => undefined],
  ['is no function', 'https://example.com'],
])('an ask that %s is an option that makes no sense', async (_, ask) => {
  await expect(run(ask as unknown as () => Promise<string>)).rejects.toMatchObject({
    code: 'FST_OAUTH2_OPTION_INVALID',
    message: expect.stringContaining('"ask"'),
  })
})
