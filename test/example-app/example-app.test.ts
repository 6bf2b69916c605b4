import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Browser, type Form, type Page } from '../helpers/browser.js'
import { startExample } from './start.js'

const formTo = (page: Page, action: string): Form => {
  const form = page.forms.find((candidate) => candidate.action === action)
  if (!form) throw new Error(`no form to ${action} on ${page.url}: ${page.body.slice(0, 500)}`)
  return form
}
const tokenOf = (page: Page, action: string) =>
  formTo(page, action).fields.find(({ name }) => name === '_csrf')?.value ?? ''
const submitTo = (browser: Browser, page: Page, action: string, values = {}) =>
  browser.submit(page, page.forms.indexOf(formTo(page, action)), values)
const linkOf = (page: Page, text: string): string => {
  const link = new RegExp(`<a [^>]*href="([^"]*)"[^>]*>${text}</a>`).exec(page.body)?.[1]
  if (link === undefined) throw new Error(`no link "${text}" on ${page.url}: ${page.body}`)
  return link.replace(/&(amp|#38);/g, '&')
}
const at = (page: Page) => new URL(page.url).pathname

/** From the sign-in form of the authorization server to wherever it leads, giving every permission that is asked for. */
async function signIn(browser: Browser, page: Page, name = 'alice'): Promise<Page> {
  const next = await browser.submit(page, 0, { username: name, password: 'password' })
  // Nothing is asked where everything was granted before.
  return next.body.includes('wants access') ? browser.submit(next) : next
}

async function signedIn(name = 'alice') {
  const running = await startExample()
  const browser = new Browser()
  const home = await signIn(browser, await browser.goto(`${running.url}/oauth2authorize`), name)
  expect(home.status).toBe(200)
  return { ...running, browser, home }
}

test('the first page is open to everybody, and its link signs in', async () => {
  const { url } = await startExample()
  const browser = new Browser()
  let page = await browser.goto(`${url}/`)
  expect(page.status).toBe(200)
  expect(page.forms).toEqual([])
  // Nobody who only looks gets a session.
  expect(browser.cookies()).toEqual([])
  expect((await browser.xhr(`${url}/`)).json()).toEqual({ signedIn: false, email: null, scopes: [] })
  page = await browser.goto(linkOf(page, 'Sign in'), { from: page })
  expect(page.body).toContain('name="password"')
  page = await signIn(browser, page)
  expect([page.url, page.status]).toEqual([`${url}/`, 200])
  expect(page.body).toContain('alice@example.test')
  expect((await browser.xhr(`${url}/`)).json()).toEqual({
    signedIn: true,
    email: 'alice@example.test',
    scopes: ['openid', 'email'],
  })
})

test('every route answers people with a page and programs with JSON', async () => {
  const { url, browser } = await signedIn()
  let page = await browser.goto(`${url}/profile`)
  expect(page.body).toContain('sub-alice')
  expect((await browser.xhr(`${url}/profile`)).json()).toEqual({
    email: 'alice@example.test',
    userId: 'sub-alice',
    scopes: ['openid', 'email'],
    notes: [],
  })

  page = await browser.submit(await browser.goto(`${url}/files`))
  expect([at(page), page.status]).toEqual(['/files', 200])
  expect(page.body).toContain('Letter from alice.txt')
  expect((await browser.xhr(`${url}/files`)).json().files).toHaveLength(3)

  page = await browser.submit(await browser.goto(`${url}/calendar`))
  expect([at(page), page.status]).toEqual(['/calendar', 200])
  expect(page.body).toContain('Lunch with alice&#39;s sister')
  expect((await browser.xhr(`${url}/calendar`)).json().events).toHaveLength(3)

  page = await browser.goto(`${url}/connections`)
  expect(page.body).toContain('See the events in your calendar')
  const { accounts } = (await browser.xhr(`${url}/connections`)).json()
  expect(accounts).toMatchObject([{ id: 'sub-alice', status: 'active', declined: [], refreshable: true }])

  page = await browser.goto(`${url}/jobs/refresh`)
  expect(page.body).toContain('The stored access token is still good')
  expect((await browser.xhr(`${url}/jobs/refresh`)).json()).toMatchObject({
    ok: true,
    userId: 'sub-alice',
    refreshed: false,
    scopes: ['openid', 'email', 'files.read', 'calendar.read'],
    expiresAt: accounts[0].expiresAt,
  })

  page = await browser.goto(`${url}/nothing-here`)
  expect([page.status, formTo(page, '/oauth2logout')]).toMatchObject([404, { method: 'POST' }])
  expect((await browser.xhr(`${url}/nothing-here`)).json()).toMatchObject({ statusCode: 404, code: 'NOT_FOUND' })
})

test('programs without credentials are told what is missing', async () => {
  const { url } = await startExample()
  const browser = new Browser()
  for (const path of ['/profile', '/files', '/calendar', '/jobs/refresh']) {
    const answer = await browser.xhr(url + path)
    expect([answer.status, answer.json().code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
  }
  expect((await browser.xhr(`${url}/notes`, { method: 'POST', body: { text: 'x' } })).status).toBe(401)
  expect((await browser.xhr(`${url}/connections`)).json()).toEqual({ accounts: [] })
  const other = await signedIn()
  expect((await other.browser.xhr(`${other.url}/files`)).json()).toMatchObject({
    statusCode: 403,
    missingScopes: ['files.read'],
  })
})

test('pages say nothing that is not theirs to say, and load nothing', async () => {
  const { url, browser, home } = await signedIn()
  for (const page of [home, await browser.goto(`${url}/profile`), await browser.goto(`${url}/connections`)]) {
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'; style-src 'self'")
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(page.body).not.toMatch(/<script|<style| style=| on\w+=/)
    expect(formTo(page, '/oauth2logout').method).toBe('POST')
  }
  const style = await browser.xhr(/href="(\/style\.css[^"]*)"/.exec(home.body)?.[1] as string, { from: home })
  expect([style.status, style.headers.get('content-type')]).toEqual([200, 'text/css; charset=utf-8'])
})

test('one more permission is announced, asked for, and can be declined and asked for again', async () => {
  const { url, browser, home } = await signedIn()
  expect(home.body).toContain('See the names of your files')
  let page = await browser.goto(`${url}/files`)
  expect(page.body).toContain('name="scope" value="files.read" checked')
  page = await browser.submit(page, 0, { scope: [] })
  expect([at(page), page.status]).toEqual(['/files', 403])
  expect(page.body).toContain('FST_OAUTH2_SCOPE_DECLINED')
  expect(page.body).toContain('<li>See the names of your files</li>')
  // No loop, however often the page is opened; and everything else goes on as before.
  expect((await browser.goto(`${url}/files`)).chain).toHaveLength(1)
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect((await browser.goto(`${url}/connections`)).body).toContain('Declined')
  expect(linkOf(await browser.goto(`${url}/`), 'Ask me again')).toContain('/oauth2authorize?ticket=')

  page = await browser.goto(linkOf(page, 'Ask again'), { from: page })
  page = await browser.submit(page)
  expect([at(page), page.status]).toEqual(['/files', 200])
  expect(page.body).toContain('Letter from alice.txt')
})

test('refusing everything leaves nobody signed in, with a way to start again', async () => {
  const { url } = await startExample()
  const browser = new Browser()
  let page = await browser.goto(`${url}/profile`)
  page = await browser.submit(page, 0, { username: 'alice', password: 'password' })
  page = await browser.submit(page, 1)
  expect([page.status, page.body]).toEqual([403, expect.stringContaining('FST_OAUTH2_ACCESS_DENIED')])
  expect((await browser.xhr(`${url}/`)).json().signedIn).toBe(false)
  page = await browser.goto(linkOf(page, 'Start again'), { from: page })
  page = await browser.submit(page)
  expect([at(page), page.status]).toEqual(['/profile', 200])
})

test('notes are kept, escaped, and nobody else can write them', async () => {
  const { url, browser } = await signedIn()
  let page = await browser.goto(`${url}/profile`)
  page = await submitTo(browser, page, '/notes', { text: '<b>milk</b> & "bread"' })
  expect(page.chain.map(({ status }) => status)).toEqual([303, 200])
  expect([at(page), page.body]).toEqual([
    '/profile',
    expect.stringContaining('&lt;b&gt;milk&lt;/b&gt; &amp; &quot;bread&quot;'),
  ])
  const created = await browser.xhr(`${url}/notes`, { method: 'POST', body: { text: 'from a program' } })
  expect([created.status, created.json()]).toEqual([201, { id: 2, text: 'from a program' }])
  const { notes } = (await browser.xhr(`${url}/profile`)).json()
  expect(notes.map(({ text }: { text: string }) => text)).toEqual(['from a program', '<b>milk</b> & "bread"'])

  const refused = [
    await submitTo(browser, page, '/notes', { text: 'forged', _csrf: '' }),
    // The token of one form is of no use for another.
    await submitTo(browser, page, '/notes', { text: 'forged', _csrf: tokenOf(page, '/oauth2logout') }),
    await browser.xhr(`${url}/notes`, { method: 'POST', body: new URLSearchParams({ text: 'forged' }) }),
    await browser.xhr(`${url}/notes`, { method: 'POST', body: 'forged', headers: { 'content-type': 'text/plain' } }),
  ]
  expect(refused.map(({ status }) => status)).toEqual([403, 403, 403, 403])
  expect((await submitTo(browser, page, '/notes', { text: ' ' })).status).toBe(400)
  expect((await browser.xhr(`${url}/profile`)).json().notes).toHaveLength(2)
})

test('a form that is posted after the access ended leads back', async () => {
  const { url, browser, server } = await signedIn()
  const page = await browser.goto(`${url}/profile`)
  // The same person takes the access back in another browser.
  const other = new Browser()
  await signIn(other, await other.goto(`${url}/profile`))
  await submitTo(other, await other.goto(`${url}/connections`), '/connections/revoke')
  expect(server.revocations).toHaveLength(1)

  const answer = await submitTo(browser, page, '/notes', { text: 'too late' })
  expect([answer.status, answer.body]).toEqual([401, expect.stringContaining('Please sign in again')])
  const back = await browser.goto(linkOf(answer, 'Continue'), { from: answer })
  expect(at(await browser.submit(back))).toBe('/profile')
})

test('signing out ends the session and keeps what is stored', async () => {
  const { url, browser, home, server } = await signedIn()
  let page = await submitTo(browser, home, '/oauth2logout')
  expect([page.url, page.status]).toEqual([`${url}/`, 200])
  expect(page.forms).toEqual([])
  expect((await browser.xhr(`${url}/profile`)).status).toBe(401)
  expect(server.revocations).toEqual([])
  // The authorization server still knows the person: nothing is asked.
  page = await browser.goto(`${url}/profile`)
  expect([at(page), page.status]).toEqual(['/profile', 200])
})

test('revoking ends the access here and there', async () => {
  const { url, browser, server } = await signedIn()
  let page = await browser.goto(`${url}/connections`)
  expect((await submitTo(browser, page, '/connections/revoke', { _csrf: 'forged' })).status).toBe(403)
  expect((await submitTo(browser, page, '/connections/revoke', { account: 'sub-bob' })).status).toBe(404)
  page = await submitTo(browser, page, '/connections/revoke')
  expect([page.url, page.status]).toEqual([`${url}/connections?revoked=revoked`, 200])
  expect(page.body).toContain('The access was taken back')
  expect(page.forms).toEqual([])
  expect(server.revocations).toHaveLength(1)
  // Consent is asked for again.
  page = await browser.goto(`${url}/profile`)
  expect(page.body).toContain('Example app wants access')
})

test('programs revoke too, and hear what became of it', async () => {
  const { url, browser, server } = await signedIn()
  server.faults.revocation = '500'
  const body = { account: 'sub-alice' }
  const answer = await browser.xhr(`${url}/connections/revoke`, { method: 'POST', body })
  expect(answer.json()).toEqual({ local: true, remote: 'failed' })
  expect((await browser.xhr(`${url}/connections`)).json()).toEqual({ accounts: [] })
})

test('an expired access token is renewed, in requests and in the job', async () => {
  const { url, browser, server } = await signedIn()
  await browser.submit(await browser.goto(`${url}/files`))
  await server.expireAccessTokens()
  expect((await browser.goto(`${url}/files`)).status).toBe(200)
  expect(server.tokenRequests.map(({ grantType }) => grantType)).toEqual([
    'authorization_code',
    'authorization_code',
    'refresh_token',
  ])
  let job = await browser.goto(`${url}/jobs/refresh`)
  job = await submitTo(browser, job, '/jobs/refresh')
  expect([job.status, job.body]).toEqual([200, expect.stringContaining('The job got a new access token')])
  expect(server.tokenRequests).toHaveLength(4)
  // The request works with what the job stored.
  expect((await browser.goto(`${url}/files`)).status).toBe(200)
  expect(server.tokenRequests).toHaveLength(4)
  server.faults.token = 'invalid_grant'
  const dead = await submitTo(browser, job, '/jobs/refresh')
  expect([dead.status, dead.body]).toEqual([200, expect.stringContaining('The job could not run')])
})

test('an API that fails is told from a permission that is missing', async () => {
  const { url, browser, server } = await signedIn()
  await browser.submit(await browser.goto(`${url}/files`))
  server.faults.api = '500'
  const page = await browser.goto(`${url}/files`)
  expect([page.status, page.body]).toEqual([502, expect.stringContaining('The API answered with status 500')])
})

test('the session survives a restart with the same data; credentials that the new server refuses do not', async () => {
  const first = await startExample()
  const browser = new Browser()
  await signIn(browser, await browser.goto(`${first.url}/profile`))
  await browser.submit(await browser.goto(`${first.url}/files`))
  const page = await browser.goto(`${first.url}/profile`)
  await submitTo(browser, page, '/notes', { text: 'before the restart' })

  const { url, server } = await first.restart()
  expect(url).toBe(first.url)
  const profile = (await browser.xhr(`${url}/profile`)).json()
  expect(profile).toMatchObject({ userId: 'sub-alice', notes: [{ text: 'before the restart' }] })
  // The local authorization server forgot everything: it refuses token and refresh token, and the person signs in again.
  let again = await browser.goto(`${url}/files`)
  expect(server.tokenRequests.map(({ grantType }) => grantType)).toEqual(['refresh_token'])
  expect(again.body).toContain('name="password"')
  again = await signIn(browser, again)
  expect([at(again), again.status]).toEqual(['/files', 200])
})

test('somebody in a new browser after a restart signs in as well', async () => {
  const first = await startExample()
  const before = new Browser()
  await signIn(before, await before.goto(`${first.url}/profile`))
  await before.submit(await before.goto(`${first.url}/files`))
  const { url } = await first.restart()
  const browser = new Browser()
  expect(at(await signIn(browser, await browser.goto(`${url}/profile`)))).toBe('/profile')
  let page = await browser.goto(`${url}/files`)
  if (page.forms[0]?.action.includes('interaction')) page = await browser.submit(page)
  expect([at(page), page.status]).toEqual(['/files', 200])
})

test('stored credentials that turn out to be dead after a sign-in are replaced, without an error', async () => {
  const first = await startExample()
  const before = new Browser()
  await signIn(before, await before.goto(`${first.url}/profile`))
  await before.submit(await before.goto(`${first.url}/files`))
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 })
  onTestFinished(() => void vi.useRealTimers())
  const { url, server } = await first.restart()
  // What is stored grants more than signing in asks for, so it is kept until the refresh token proves to be worthless.
  const browser = new Browser()
  let page = await signIn(browser, await browser.goto(`${url}/profile`))
  expect(page.body).toContain('name="scope" value="files.read" checked')
  page = await browser.submit(page)
  expect([at(page), page.status]).toEqual(['/profile', 200])
  expect(server.tokenRequests.map(({ grantType }) => grantType)).toEqual([
    'authorization_code',
    'refresh_token',
    'authorization_code',
  ])
})

test('what is on disk is for its owner only, and holds no token', async () => {
  const { url, browser, dataDir, server } = await signedIn()
  await browser.submit(await browser.goto(`${url}/files`))
  const [, token] = server.apiRequests.at(-1)?.authorization?.split(' ') ?? []
  expect(token).toBeTruthy()
  const names = await readdir(dataDir)
  expect(names).toEqual(expect.arrayContaining(['encryption-key', 'example-app.sqlite', 'session-secret']))
  for (const name of names) {
    const path = join(dataDir, name)
    expect([name, (await stat(path)).mode & 0o777]).toEqual([name, 0o600])
    expect((await readFile(path, 'latin1')).includes(token as string)).toBe(false)
  }
})
