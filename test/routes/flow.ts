/** A flow in pieces: to the provider, then back, with whatever a test does in between. */
import type { TestApp } from '../helpers/app.js'
import type { Browser, Page, StepOptions } from '../helpers/browser.js'

export interface Begun {
  /** Where the provider sends the browser back to. Not requested yet. */
  readonly callback: string
  /** The parameters that the provider was asked with. */
  readonly asked: URLSearchParams
}

/** Goes from a page of the app to the provider and stops in front of the callback. */
export async function begin(
  { url, browser: usual, provider }: Pick<TestApp, 'url' | 'browser' | 'provider'>,
  path = '/oauth2authorize',
  { browser = usual }: { browser?: Browser } = {},
): Promise<Begun> {
  const page = await browser.goto(url + path, { stopAt: ({ pathname }) => pathname.includes('/oauth2callback') })
  if (!page.location || !page.url.startsWith(provider.issuer)) {
    throw new Error(`no flow began: ${page.status} ${page.url} ${page.body.slice(0, 500)}`)
  }
  return { callback: page.location, asked: new URL(page.url).searchParams }
}

/** Follows the provider's redirect, and not ours. */
export function back(
  { browser: usual, provider }: Pick<TestApp, 'browser' | 'provider'>,
  callback: string,
  { browser = usual, ...options }: StepOptions & { browser?: Browser } = {},
): Promise<Page> {
  return browser.step(callback, { from: provider.issuer, ...options })
}

/** A callback URL with some of its parameters replaced; `null` takes one out. */
export function altered(callback: string, params: Record<string, string | null>): string {
  const url = new URL(callback)
  for (const [name, value] of Object.entries(params)) {
    if (value === null) url.searchParams.delete(name)
    else url.searchParams.set(name, value)
  }
  return url.href
}

/** Status and error code of an answer, whether it is a page or JSON. */
export function answer({ status, body }: Page): [status: number, code: string | undefined] {
  return [status, /FST_\w+/.exec(body)?.[0]]
}

/** Names of the cookies that a browser holds for flows, without what differs from flow to flow. */
export function flowCookies(browser: Browser, hostname?: string): string[] {
  return browser
    .cookies(hostname)
    .map(({ name }) => name)
    .filter((name) => name.includes('oauth2client.flow.'))
}

/** Cookies that a response sets, ours only. */
export function ourCookies({ headers }: Page): string[] {
  return headers.getSetCookie().filter((cookie) => cookie.includes('oauth2client.'))
}
