/** What the pages about tasks tell people to write works, beside the provider of docs/getting-started.md. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { Browser } from '../helpers/browser.js'
import { diffsOf, type Pages, signInAt, type TriedPage, tryPages } from './try-pages.js'

let pages: Pages
beforeAll(async () => {
  pages = await tryPages()
}, 60_000)
afterAll(() => pages.close())

/** The page, with the provider running, and what it has people put into `.env`. */
async function open(name: string): Promise<TriedPage> {
  const page = await pages.open(name, 'getting-started.md')
  for (const [line] of `${page.others}\n${page.text}`.matchAll(/^node -e .*$/gm)) await page.command(line)
  await listening(page, 'provider.js')
  return page
}

async function listening(page: TriedPage, file: string, ...args: string[]) {
  const process = await page.start(file, ...args)
  onTestFinished(() => process.stop())
  await process.says(file === 'provider.js' ? 'The provider is' : 'Server listening')
  return process
}

test('add-a-scope.md', { timeout: 60_000 }, async () => {
  const page = await open('add-a-scope.md')
  page.files.set(
    'app.js',
    diffsOf(page.text).reduce((text, diff) => diff.applyTo(text), page.files.get('app.js') as string),
  )
  await listening(page, 'app.js')

  const alice = new Browser()
  const link = await alice.goto(page.url(3000, '/oauth2authorize?scope=calendar.read&return_url=/overview'))
  expect(link.body).toContain('Sign in')
  expect((await alice.goto(page.url(3000, '/oauth2authorize?scope=whatever'))).body).toContain(
    'FST_OAUTH2_SCOPE_NOT_DECLARED',
  )
  let consent = await alice.submit(await alice.goto(page.url(3000, '/files')), 0, {
    username: 'alice',
    password: 'password',
  })
  expect([consent.body.includes('See your files'), consent.body.includes('See your calendar')]).toEqual([true, false])
  expect((await signInAt(alice, consent)).json()).toEqual(['Letter from alice'])
  // Only what is new is asked, and the old page goes on with the new tokens.
  consent = await alice.goto(page.url(3000, '/calendar'))
  expect((await signInAt(alice, consent, 'alice', ['calendar.read'])).body).toContain('FST_OAUTH2_SCOPE_DECLINED')
  const again = await alice.goto(page.url(3000, '/calendar'))
  expect([again.status, again.chain.length, again.body]).toEqual([403, 1, expect.stringContaining('Ask again')])
  expect((await alice.goto(page.url(3000, '/files'))).json()).toEqual(['Letter from alice'])
  expect((await alice.xhr(page.url(3000, '/calendar'))).json()).toMatchObject({ missingScopes: ['calendar.read'] })
  const day = await alice.goto(page.url(3000, '/day'))
  const [, why = ''] = /href="([^"]+)"/.exec(day.body) ?? []
  const back = await signInAt(alice, await alice.goto(page.url(3000, why), { from: day }))
  expect(back.body).toBe('Your day: <a href="/calendar">the calendar</a>')
  expect((await alice.goto(page.url(3000, '/calendar'))).json()).toEqual(['Lunch with alice'])

  const bob = new Browser()
  const overview = await signInAt(bob, await bob.goto(page.url(3000, '/overview')), 'bob')
  expect(overview.json()).toEqual({ email: 'bob@example.test' })
  const refused = await bob.submit(await bob.goto(page.url(3000, '/files')), 1)
  expect(refused.body).toContain('FST_OAUTH2_ACCESS_DENIED')
  expect((await bob.goto(page.url(3000, '/overview'))).json()).toEqual({ email: 'bob@example.test' })
})

test('several-providers.md: a page over two', { timeout: 60_000 }, async () => {
  const page = await open('several-providers.md')
  await listening(page, 'provider.js', '4001')
  await listening(page, 'app.js')
  const alice = new Browser()
  const second = await signInAt(alice, await alice.goto(page.url(3000, '/both')))
  expect(new URL(second.url).origin).toBe(page.url(4001))
  const both = await signInAt(alice, second, 'alice.of.crm')
  expect([both.url, both.json()]).toEqual([
    page.url(3000, '/both'),
    { files: ['Letter from alice'], calendar: ['Lunch with alice.of.crm'] },
  ])
})

test('several-providers.md: sign in with either', { timeout: 60_000 }, async () => {
  const page = await open('several-providers.md')
  await listening(page, 'provider.js', '4001')
  await listening(page, 'either.js')
  const begin = async (browser: Browser, path: string, name: string) => {
    const home = await browser.goto(page.url(3000))
    return signInAt(browser, await browser.goto(page.url(3000, `${path}?return_url=/`), { from: home }), name)
  }
  const alice = new Browser()
  expect((await alice.goto(page.url(3000))).body).toContain('Sign in with')
  // Whoever knew the session before the sign-in, or planted it, is nobody.
  const thief = alice.clone()
  const sessionOf = (browser: Browser) => browser.cookies().find(({ name }) => name === 'sessionId')?.value
  expect((await begin(alice, '/oauth2authorize', 'alice')).body).toContain('You are user-1, with 1 of one, 0 of two')
  expect([sessionOf(thief), sessionOf(alice)]).toEqual([expect.any(String), expect.any(String)])
  expect(sessionOf(alice)).not.toBe(sessionOf(thief))
  expect((await thief.goto(page.url(3000))).body).toContain('Sign in with')
  expect((await begin(alice, '/oauth2authorize/crm', 'ally')).body).toContain('You are user-1, with 1 of one, 1 of two')
  const elsewhere = new Browser()
  expect((await begin(elsewhere, '/oauth2authorize/crm', 'ally')).body).toContain(
    'You are user-1, with 1 of one, 1 of two',
  )
  expect((await begin(new Browser(), '/oauth2authorize/crm', 'bob')).body).toContain(
    'You are user-2, with 0 of one, 1 of two',
  )
})

test('connect-an-account.md', { timeout: 60_000 }, async () => {
  const page = await open('connect-an-account.md')
  await listening(page, 'app.js')
  const browser = new Browser()
  // Whoever types the address of a guarded page signs in to the app first.
  let at = await browser.goto(page.url(3000, '/accounts'))
  expect(at.url).toBe(page.url(3000, '/login'))
  at = await browser.submit(at, 0, { user: 'u1' })
  expect(at.url).toBe(page.url(3000, '/accounts'))
  const connect = async (name: string) => {
    const [, link = ''] = /href="([^"]+)">Connect an account/.exec(at.body) ?? []
    let next = await browser.goto(page.url(3000, link.replaceAll('&amp;', '&')), { from: at })
    // Who is signed in at the provider already chooses somebody else.
    if (!next.body.includes('name="password"')) throw new Error(next.body)
    next = await signInAt(browser, next, name)
    return next
  }
  at = await connect('alice')
  expect([at.url, at.body]).toEqual([page.url(3000, '/accounts'), expect.stringContaining('alice@example.test')])
  at = await connect('alice.at.work')
  expect(at.body).toContain('alice.at.work@example.test')
  expect((await browser.goto(page.url(3000, '/files'))).json()).toEqual([
    ['Letter from alice'],
    ['Letter from alice.at.work'],
  ])
  at = await browser.submit(await browser.goto(page.url(3000, '/accounts')), 0)
  expect([at.body.includes('alice@example.test'), at.body.includes('alice.at.work@example.test')]).toEqual([
    false,
    true,
  ])

  // A link that is not for another account takes no other one.
  const elsewhere = new Browser()
  await elsewhere.submit(await elsewhere.goto(page.url(3000, '/login')), 0, { user: 'u1' })
  const other = await signInAt(elsewhere, await elsewhere.goto(page.url(3000, '/oauth2authorize')), 'carol')
  expect(other.body).toContain('FST_OAUTH2_ACCOUNT_MISMATCH')

  // Another site sends the browser of somebody without an account.
  const lured = new Browser()
  await lured.submit(await lured.goto(page.url(3000, '/login')), 0, { user: 'u2' })
  const asked = await signInAt(
    lured,
    await lured.goto(page.url(3000, '/files'), { from: 'https://evil.example/' }),
    'mallory',
  )
  expect(asked.body).toContain('FST_OAUTH2_CONFIRMATION_REQUIRED')
  expect((await lured.goto(page.url(3000, '/accounts'))).body).not.toContain('mallory')
  expect((await fetch(page.url(3000, '/files'))).status).toBe(401)
})

test('connect-an-account.md: the sign-in makes the users', { timeout: 60_000 }, async () => {
  const page = await open('connect-an-account.md')
  await listening(page, 'sign-in.js')
  const browser = new Browser()
  const home = await signInAt(browser, await browser.goto(page.url(3000)))
  expect(home.json()).toEqual({ email: 'alice@example.test', since: expect.any(String) })
})

test('devices.md', { timeout: 60_000 }, async () => {
  const page = await open('devices.md')
  const device = await page.start('device.js')
  onTestFinished(() => device.stop())
  await device.says(/Open .* and enter .*\n/)
  const [, address = '', code = ''] = /Open (\S+) and enter (\S+)/.exec(device.output()) ?? []
  const telephone = new Browser()
  let at = await telephone.submit(await telephone.goto(address), 0, { user_code: code })
  while (at.forms.length > 0) {
    at = at.body.includes('password')
      ? await telephone.submit(at, 0, { username: 'alice', password: 'password' })
      : await telephone.submit(at)
  }
  await device.says("alice@example.test [ 'Letter from alice' ]")
  expect(await device.end()).toBe(0)
  const again = await page.start('device.js')
  expect(await again.end()).toBe(0)
  expect(again.output()).toBe("alice@example.test [ 'Letter from alice' ]\n")
})

test('service-accounts.md', { timeout: 60_000 }, async () => {
  const page = await open('service-accounts.md')
  await listening(page, 'reports.js')
  const service = await page.start('service.js')
  expect(await service.end()).toBe(0)
  expect(service.output()).toBe("200 { reports: [ 'January', 'February' ] }\n")
  expect((await fetch(page.url(3001, '/reports'))).status).toBe(401)
})

test('write-a-provider.md', { timeout: 60_000 }, async () => {
  const page = await open('write-a-provider.md')
  await listening(page, 'app.js')
  const browser = new Browser()
  const home = await signInAt(browser, await browser.goto(page.url(3000)))
  expect(home.json()).toEqual({ id: 'user-alice', email: 'alice@example.test' })
  // Nobody is signed in of whom the provider does not say who it is.
  const nobody = new Browser()
  const refused = await signInAt(nobody, await nobody.goto(page.url(3000)), 'bob', ['user.read'])
  expect(refused.body).toContain('FST_OAUTH2_')
  expect((await nobody.xhr(page.url(3000))).status).toBe(401)
})

test('examples/minimal/app.js', { timeout: 60_000 }, async () => {
  const example = await pages.copy('examples/minimal/app.js')
  await listening(example, 'app.js')
  const browser = new Browser()
  let home = await browser.goto(example.url(3000))
  expect(home.body).toBe('<a href="/profile">Sign in</a>')
  const profile = await signInAt(browser, await browser.goto(example.url(3000, '/profile'), { from: home }))
  expect(profile.json()).toMatchObject({ sub: 'sub-alice', email: 'alice@example.test' })
  home = await browser.submit(await browser.goto(example.url(3000)))
  expect([home.url, home.body]).toEqual([example.url(3000, '/'), '<a href="/profile">Sign in</a>'])
})
