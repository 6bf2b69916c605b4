/** What the relying-party modules of the conformance suite have in common: one sign-in at a server that does one thing wrong. */
import { expect } from 'vitest'
import { startApp, type TestApp, type TestAppOptions } from '../helpers/app.js'
import { answer, back, begin } from '../routes/flow.js'

export const EXCHANGE_FAILED: readonly [number, string] = [502, 'FST_OAUTH2_EXCHANGE_FAILED']
export const STATE_INVALID: readonly [number, string] = [400, 'FST_OAUTH2_STATE_INVALID']

export interface Relying extends TestApp {
  /** The request that the person was sent with. */
  readonly asked: URLSearchParams
}

/** Goes through a sign-in at a provider that was spoiled first. */
export async function signIn(
  spoil: (app: TestApp) => unknown = () => {},
  options: TestAppOptions = {},
): Promise<Relying & { outcome: [number, string | undefined] }> {
  const app = await startApp(options)
  await spoil(app)
  const { callback, asked } = await begin(app, '/profile')
  const outcome = answer(await back(app, callback))
  return { ...app, asked, outcome }
}

/** The sign-in worked, and whoever was signed in is who the provider said. */
export async function expectAccepted({ browser, url }: TestApp, outcome: [number, string | undefined]): Promise<void> {
  expect(outcome).toEqual([303, undefined])
  expect((await browser.goto(`${url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
}

/** The sign-in was refused, and nobody is signed in by it. */
export async function expectRefused(
  { browser, url }: TestApp,
  outcome: [number, string | undefined],
  refusal: readonly [number, string] = EXCHANGE_FAILED,
): Promise<void> {
  expect(outcome).toEqual(refusal)
  expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
}

/** A JWT with another signature. */
export function damaged(jwt: string): string {
  const [header, payload, signature = ''] = jwt.split('.')
  return `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
}
