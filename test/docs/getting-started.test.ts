/** Whoever follows docs/getting-started.md to the letter is signed in at its end, and the mistakes that it names look as it says. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { diffsOf, type Pages, signInAt, type TriedPage, tryPages } from './try-pages.js'

let pages: Pages
let page: TriedPage
beforeAll(async () => {
  pages = await tryPages()
  page = await pages.open('getting-started.md')
  const [secret] = /^node -e .*$/m.exec(page.text) ?? ['']
  await page.command(secret)
  await (await page.start('provider.js')).says('The provider is')
}, 60_000)
afterAll(() => pages.close())

/** The app of the page, with something else in the place of what it says there. */
async function startWith(found: string | RegExp, instead: string) {
  const app = page.files.get('app.js') as string
  const changed = app.replace(found, instead)
  expect(changed).not.toBe(app)
  page.files.set('app-changed.js', changed)
  return page.start('app-changed.js')
}

/** What the page says first about what one meets, by the words that are in its first column. */
function said(words: string): void {
  const table = page.text.slice(page.text.indexOf('## What people meet first'))
  expect(table).toContain(words)
}

test('from an empty folder to a guarded route', { timeout: 30_000 }, async () => {
  const app = await page.start('app.js')
  onTestFinished(() => app.stop())
  await app.says('Server listening')
  const alice = new Browser()
  const files = await signInAt(alice, await alice.goto(page.url(3000, '/files')))
  expect([files.url, files.json()]).toEqual([page.url(3000, '/files'), ['Letter from alice']])
  expect((await alice.goto(page.url(3000))).body).toBe('Hello alice@example.test')
  const program = await fetch(page.url(3000, '/files'))
  expect([program.status, (await program.json()).code]).toEqual([401, 'FST_OAUTH2_CREDENTIALS_REQUIRED'])
})

test('another provider that speaks OpenID Connect takes what the page says and nothing else', {
  timeout: 30_000,
}, async () => {
  const [openid] = diffsOf(page.text)
  page.files.set('app-openid.js', openid?.applyTo(page.files.get('app.js') as string) ?? '')
  const settings = page.files.get('.env') as string
  page.files.set(
    '.env',
    `${settings}\nISSUER=http://localhost:4000\nCLIENT_ID=my-app\nCLIENT_SECRET="only for this machine"\n`,
  )
  const app = await page.start('app-openid.js')
  page.files.set('.env', settings)
  onTestFinished(() => app.stop())
  await app.says('Server listening')
  const alice = new Browser()
  const files = await signInAt(alice, await alice.goto(page.url(3000, '/files')))
  expect(files.json()).toEqual(['Letter from alice'])
})

test('so does Google', { timeout: 30_000 }, async () => {
  const [, ...google] = diffsOf(page.text)
  expect(google).toHaveLength(3)
  const changed = google.reduce((text, diff) => diff.applyTo(text), page.files.get('app.js') as string)
  expect(changed).not.toContain('localhost:4000')
  page.files.set('app-google.js', changed)
  const redirect_uris = ['http://localhost:3000/oauth2callback']
  const web = { client_id: 'id', client_secret: 'secret', redirect_uris }
  const endpoints = {
    auth_uri: 'https://accounts.google.com/o/oauth2/auth',
    token_uri: 'https://oauth2.googleapis.com/token',
  }
  page.files.set('client_secrets.json', JSON.stringify({ web: { ...web, ...endpoints } }))
  const app = await page.start('app-google.js')
  onTestFinished(() => app.stop())
  await app.says('Server listening')
  // Who forgot to register the redirect URI learns of it here, where the file tells.
  page.files.set(
    'client_secrets.json',
    JSON.stringify({ web: { ...web, ...endpoints, redirect_uris: ['https://x.example/cb'] } }),
  )
  const forgotten = await page.start('app-google.js')
  await forgotten.says(page.url(3000, '/oauth2callback, which is not among the redirect_uris'))
  expect(await forgotten.end()).toBe(1)
})

describe('what people meet first', { timeout: 30_000 }, () => {
  test('no secret for sessions, or a short one', async () => {
    const settings = page.files.get('.env') as string
    for (const secret of ['', 'short']) {
      page.files.set('.env', `SESSION_SECRET=${secret}`)
      const app = await page.start('app.js')
      page.files.set('.env', settings)
      await app.says('the secret must have length 32 or greater')
    }
    said('the secret must have length 32 or greater')
  })

  test('no session plugin', async () => {
    const app = await startWith(/app\.register\(session, \{.*?^\}\)$/ms, '')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const answer = await new Browser().goto(page.url(3000, '/files'))
    expect([answer.status, answer.body]).toEqual([
      500,
      expect.stringContaining('No session: register @fastify/session'),
    ])
    said('No session: register @fastify/session')
  })

  test('a session cookie that is for HTTPS only', async () => {
    const app = await startWith("  cookie: { secure: 'auto', sameSite: 'lax' },\n", '')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const answer = await new Browser().goto(page.url(3000, '/files'))
    expect([answer.status, answer.body]).toEqual([500, expect.stringContaining('set cookie.secure to')])
    expect(answer.body).toContain('FST_OAUTH2_SESSION_COOKIE_UNUSABLE')
    said('FST_OAUTH2_SESSION_COOKIE_UNUSABLE')
  })

  test('a redirect URI that the provider does not know', async () => {
    const provider = (page.files.get('provider.js') as string).replace(
      "clientSecret: 'only for this machine'",
      "$&, redirectUris: ['http://localhost:1/oauth2callback']",
    )
    page.files.set('strict.js', provider)
    const strict = await page.start('strict.js', '4001')
    onTestFinished(() => strict.stop())
    await strict.says('The provider is')
    const app = await startWith('localhost:4000', 'localhost:4001')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const answer = await new Browser().goto(page.url(3000, '/files'))
    expect(new URL(answer.url).origin).toBe(page.url(4001))
    expect(answer.body).toContain('invalid_redirect_uri')
    said('invalid_redirect_uri')
  })

  test('the app under another name than that of baseUrl', async () => {
    const app = await page.start('app.js')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const alice = new Browser()
    const other = page.url(3000, '/files').replace('localhost', '127.0.0.1')
    const answer = await signInAt(alice, await alice.goto(other))
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('FST_OAUTH2_STATE_INVALID')])
    await app.says('the app is open under another host than that of baseUrl')
    said('FST_OAUTH2_STATE_INVALID')
  })

  test('a wrong client secret', async () => {
    const app = await startWith('only for this machine', 'mistyped')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const alice = new Browser()
    const answer = await signInAt(alice, await alice.goto(page.url(3000, '/files')))
    expect([answer.status, answer.body]).toEqual([500, expect.stringContaining('FST_OAUTH2_CLIENT_REJECTED')])
    await app.says(
      /invalid_client, HTTP 401: clientId, clientSecret or clientAuthentication is not what is registered there/,
    )
    said('FST_OAUTH2_CLIENT_REJECTED')
  })

  test('no provider', async () => {
    const app = await startWith('localhost:4000', 'localhost:4001')
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const answer = await new Browser().goto(page.url(3000, '/files'))
    expect([answer.status, answer.body]).toEqual([503, expect.stringContaining('FST_OAUTH2_PROVIDER_UNAVAILABLE')])
    said('FST_OAUTH2_PROVIDER_UNAVAILABLE')
  })

  test('an API at another origin', async () => {
    const app = await startWith("fetch('http://localhost:4000", "fetch('http://localhost:4001")
    onTestFinished(() => app.stop())
    await app.says('Server listening')
    const alice = new Browser()
    const answer = await signInAt(alice, await alice.goto(page.url(3000, '/files')))
    expect([answer.status, answer.json().code]).toEqual([500, 'FST_OAUTH2_ORIGIN_NOT_ALLOWED'])
    said('FST_OAUTH2_ORIGIN_NOT_ALLOWED')
  })
})
