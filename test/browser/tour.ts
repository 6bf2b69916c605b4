/** Every page that a visitor can be shown: of the example app, of the testing authorization server, and of the package itself. */
import { existsSync } from 'node:fs'
import formbody from 'node:querystring'
import Fastify from 'fastify'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { PAGE_HEADERS, PAGE_POLICY, renderPage } from '../../src/installed/page.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { startExample } from '../example-app/start.js'
import { listen } from '../helpers/listen.js'
import { sessionVariants } from '../helpers/session-plugins.js'

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'
/** Whether there is a browser. Without one, tests leave themselves out, except on CI. */
export const absent = !existsSync(executablePath)
if (absent && process.env.CI) {
  test('there is a Chromium on CI', () => {
    throw new Error(`No Chromium at ${executablePath}: set CHROMIUM_PATH.`)
  })
} else if (absent) {
  console.log(`Browser tests are left out: no Chromium at ${executablePath}. Set CHROMIUM_PATH to run them.`)
}

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const launch = (): Promise<Browser> => chromium.launch({ executablePath, args: ARGS })

/** Called for each page in turn, with a name of its own. */
export type Visit = (page: Page, name: string) => Promise<void>

/** All of it in browsers with these options. */
export async function tour(chrome: Browser, options: BrowserContextOptions, visit: Visit): Promise<void> {
  const open = async (baseURL: string) => {
    const context = await chrome.newContext({ ...options, baseURL })
    onTestFinished(() => context.close())
    return context.newPage()
  }
  await exampleApp(open, visit)
  await authorizationServer(open, visit)
  await ownPages(open, visit)
}

type Open = (baseURL: string) => Promise<Page>

export const press = async (page: Page, name: string) => {
  await page.getByRole('button', { name, exact: true }).click()
  await page.waitForLoadState()
}
export const follow = async (page: Page, name: string) => {
  await page.getByRole('link', { name, exact: true }).click()
  await page.waitForLoadState()
}
export async function fillIn(page: Page, name = 'alice', password = 'password'): Promise<void> {
  await page.getByLabel('User name').fill(name)
  await page.getByLabel('Password').fill(password)
  await press(page, 'Sign in')
}

async function exampleApp(open: Open, visit: Visit): Promise<void> {
  const { url, server } = await startExample()
  const page = await open(url)
  const at = async (path: string, name: string) => {
    await page.goto(path)
    await visit(page, name)
  }
  await at('/', 'home, signed out')
  await at('/connections', 'connections, signed out')
  await at('/why/files', 'why files, signed out')
  await at('/nothing-here', 'not found, signed out')
  await at('/oauth2callback?state=unknown&code=x', 'a sign-in that cannot be completed')
  await page.goto('/profile')
  await visit(page, 'sign in')
  await fillIn(page, 'alice', 'wrong')
  await visit(page, 'sign in, wrong password')
  await page.getByLabel('Password').fill('password')
  await press(page, 'Sign in')
  await visit(page, 'consent to the first scopes')
  await press(page, 'Refuse everything')
  await visit(page, 'access was not granted')
  await follow(page, 'Start again')
  await press(page, 'Allow')
  await visit(page, 'profile')
  await page.getByLabel('A new note').fill('Buy milk')
  await press(page, 'Save the note')
  await visit(page, 'profile with a note')
  await page.getByLabel('A new note').evaluate((area: HTMLTextAreaElement) => area.removeAttribute('required'))
  await press(page, 'Save the note')
  await visit(page, 'a note that is refused')
  await at('/', 'home, nothing more allowed')
  await at('/why/files', 'why files')
  await follow(page, 'Continue to the local authorization server')
  await visit(page, 'consent to one more scope')
  await press(page, 'Allow')
  await visit(page, 'files')
  await at('/why/files', 'why files, allowed')
  await page.goto('/calendar')
  await page.getByRole('checkbox').uncheck()
  await press(page, 'Allow')
  await visit(page, 'a permission is missing')
  await at('/why/calendar', 'why calendar, declined')
  await at('/connections', 'connections, one declined')
  await at('/', 'home, allowed and declined')
  await follow(page, 'Ask me again')
  await press(page, 'Allow')
  await visit(page, 'calendar')
  await at('/jobs/refresh', 'job')
  server.faults.api = '500'
  await at('/files', 'the API fails')
  server.faults.api = undefined
  server.faults.token = 'invalid_grant'
  await page.goto('/jobs/refresh')
  await press(page, 'Get a new access token')
  await visit(page, 'job that could not run')
  server.faults.token = undefined
  await at('/connections', 'connections, needs attention')
  await at('/nothing-here', 'not found')
  await page.goto('/connections')
  await press(page, 'Take the access back')
  await visit(page, 'access taken back')
}

async function authorizationServer(open: Open, visit: Visit): Promise<void> {
  const server = await startAuthorizationServer()
  onTestFinished(() => server.close())
  const page = await open(server.issuer)
  await page.goto('/auth?client_id=unknown')
  await visit(page, 'authorization server: error')
  await page.goto('/interaction/unknown')
  await visit(page, 'authorization server: out of date')
  const { clientId: client_id, clientSecret: client_secret } = server
  const body = formbody.stringify({ client_id, client_secret, scope: 'openid' })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const device = await fetch(`${server.issuer}/device/auth`, { method: 'POST', headers, body })
  const { user_code: code } = (await device.json()) as { user_code: string }
  await page.goto('/device')
  await visit(page, 'device: code')
  await page.getByLabel('The code that the device shows').fill('WRON-GONE')
  await press(page, 'Go on')
  await visit(page, 'device: wrong code')
  await page.getByLabel('The code that the device shows').fill(code)
  await press(page, 'Go on')
  await visit(page, 'device: is it yours')
  await press(page, 'Yes, go on')
  await fillIn(page)
  await press(page, 'Allow')
  await visit(page, 'device: connected')
  await page.goto('/session/end')
  await visit(page, 'authorization server: sign out')
  await press(page, 'Sign out')
  await visit(page, 'authorization server: signed out')
}

/** What the package shows where the app answers nothing of its own. */
async function ownPages(open: Open, visit: Visit): Promise<void> {
  const server = await startAuthorizationServer({
    autoApprove: { user: 'alice' },
    scopes: { 'files.read': {}, 'calendar.read': {} },
  })
  onTestFinished(() => server.close())
  const app = Fastify()
  onTestFinished(() => app.close())
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, text, done) =>
    done(null, { ...formbody.parse(String(text)) }),
  )
  sessionVariants[0]?.register(app)
  app.register(oauth2Client, {
    provider: { issuer: server.issuer },
    clientId: server.clientId,
    clientSecret: server.clientSecret,
    storage: memoryStore(),
    userKey: () => 'victim',
  })
  app.get('/form', async (_request, reply) =>
    reply
      .type('text/html')
      .send(
        '<!doctype html><form method="post" action="/notes"><input name="title" value="Milk"><textarea name="text">Bread\nButter</textarea><button>Save</button></form>',
      ),
  )
  app.post('/notes', { preHandler: requireOAuth('files.read', { resume: true }) }, async () => 'saved')
  app.get('/calendar', { onRequest: requireOAuth('calendar.read') }, async () => 'a calendar')
  app.get('/installed', async (_request, reply) =>
    reply
      .headers({ ...PAGE_HEADERS, 'content-security-policy': PAGE_POLICY })
      .send(renderPage('You are signed in', 'You can close this window and go back to the program.')),
  )
  const url = await listen(app)
  const page = await open(url)
  // A link in another page is nobody's word.
  await page.route('**/lure', (route) =>
    route.fulfill({ contentType: 'text/html', body: `<a href="${url}/calendar">Win!</a>` }),
  )
  await page.goto('http://evil.example/lure')
  await follow(page, 'Win!')
  await visit(page, 'package: connect this account?')
  await press(page, 'Do not connect it')
  await visit(page, 'package: refused a moment ago')
  await page.goto(`${url}/form`)
  await press(page, 'Save')
  await visit(page, 'package: send this form now?')
  await page.goto(`${url}/oauth2callback/resume?form=unknown`)
  await visit(page, 'package: this form is not kept any more')
  await page.goto(`${url}/oauth2authorize?ticket=old`)
  await visit(page, 'package: this link has expired')
  server.autoApprove = { user: 'alice', refuse: true }
  await page.goto(`${url}/calendar`)
  await visit(page, 'package: access was not granted')
  await page.goto(`${url}/installed`)
  await visit(page, 'package: a program on this machine')
}
