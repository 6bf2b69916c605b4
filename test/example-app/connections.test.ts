/** What somebody is told about their connections, and what they can do there. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { Browser, type Page } from '../helpers/browser.js'
import { startExample } from './start.js'

async function connected(before: (server: Awaited<ReturnType<typeof startExample>>['server']) => void = () => {}) {
  const { url, server } = await startExample()
  before(server)
  const browser = new Browser()
  const signIn = await browser.goto(`${url}/oauth2authorize?return_url=/connections`)
  const consent = await browser.submit(signIn, 0, { username: 'alice', password: 'password' })
  return { url, server, browser, page: await browser.submit(consent) }
}
const state = ({ body }: Page) => /<p class="state [^"]*">([^<]+)</.exec(body)?.[1]
const linkOf = ({ body }: Page, text: string) =>
  new RegExp(`<a [^>]*href="([^"]*)"[^>]*>${text}</a>`).exec(body)?.[1]?.replaceAll('&amp;', '&') ?? ''

test('permissions are there in words, each with the page that needs it', async () => {
  const { page } = await connected()
  expect(state(page)).toBe('Connected')
  expect(page.body).toContain(
    'See your e-mail address</span> <span class="soft">used for <a href="/profile">Profile</a>',
  )
  expect(page.body).not.toContain('openid')
})

test('one that only the person can help says so, and reconnecting helps', async () => {
  const { url, server, browser } = await connected()
  await browser.submit(await browser.goto(`${url}/files`))
  await server.expireAccessTokens()
  server.faults.tokenOnce = 'invalid_grant'
  const job = await browser.goto(`${url}/jobs/refresh`)
  await browser.submit(
    job,
    job.forms.findIndex(({ action }) => action === '/jobs/refresh'),
  )
  let page = await browser.goto(`${url}/connections`)
  expect(state(page)).toBe('Needs your attention')
  expect(page.body).toContain('Reconnect to go on: the access was taken back or has run out.')
  page = await browser.goto(new URL(linkOf(page, 'Reconnect'), url), { from: page })
  if (page.forms[0]?.action.includes('interaction')) page = await browser.submit(page)
  expect([page.url, state(page)]).toEqual([`${url}/connections`, 'Connected'])
  // Nothing that was allowed before is lost.
  expect(page.body).toContain('See the names of your files</span>')
})

test('one that ran out and cannot be renewed is called so', async () => {
  const { url, browser } = await connected((server) => {
    server.tweak.omitRefreshToken = true
  })
  expect((await browser.goto(`${url}/connections`)).body).not.toContain('renewed by itself')
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 301_000 })
  onTestFinished(() => void vi.useRealTimers())
  const page = await browser.goto(`${url}/connections`)
  expect(state(page)).toBe('Expired')
  expect(page.body).toContain('this access cannot be renewed without you')
})

test('the pages that explain are open to everybody, for programs too, and send nobody anywhere', async () => {
  const { url } = await startExample()
  const browser = new Browser()
  for (const [name, scope] of [
    ['files', 'files.read'],
    ['calendar', 'calendar.read'],
  ]) {
    const page = await browser.goto(`${url}/why/${name}`)
    expect([page.status, page.chain.length, linkOf(page, 'Continue to the local authorization server')]).toEqual([
      200,
      1,
      `/${name}`,
    ])
    expect((await browser.xhr(`${url}/why/${name}`)).json()).toMatchObject({ scope, allowed: false })
    // The guard is as strict as ever: whoever goes there directly is sent on.
    expect((await browser.step(`${url}/${name}`)).status).toBe(302)
  }
  expect(browser.cookies().some(({ name }) => name === 'sessionId')).toBe(true)
})
