/** The example app in a real browser. Leaves itself out where there is no Chromium, except on CI. */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startExample } from '../example-app/start.js'
import { absent, fillIn, follow, launch, press } from './tour.js'

// Chromium drops a command now and then while it swaps processes between two origins; that says nothing about the app.
describe.skipIf(absent)('the example app in Chromium', { timeout: 60_000, retry: 1 }, () => {
  let chrome: Browser

  beforeAll(async () => {
    chrome = await launch()
  }, 60_000)
  afterAll(() => chrome?.close())

  async function start(options: BrowserContextOptions = {}) {
    const example = await startExample()
    const context = await chrome.newContext({ baseURL: example.url, ...options })
    onTestFinished(() => context.close())
    // Whatever a page's own policy forbids is a mistake.
    const complaints: string[] = []
    context.on('console', (message) => {
      if (/content security policy|refused to/i.test(message.text())) complaints.push(message.text())
    })
    onTestFinished(() => expect(complaints).toEqual([]))
    return { ...example, context, page: await context.newPage() }
  }

  const heading = (page: Page) => page.getByRole('heading', { level: 1 }).textContent()

  async function signIn(page: Page, name = 'alice') {
    await page.goto('/')
    await follow(page, 'Sign in')
    await fillIn(page, name)
    await press(page, 'Allow')
  }

  async function wholeWay(page: Page, url: string) {
    await signIn(page)
    expect([page.url(), await heading(page)]).toEqual([`${url}/`, 'Hello alice@example.test'])

    const files = page.locator('.card', { hasText: 'Your files' })
    expect(await files.textContent()).toContain('It needs one more permission: See the names of your files')
    await files.getByRole('link').click()
    // What it is for is said before anybody is sent away.
    expect(await heading(page)).toBe('Your files need one more permission')
    expect(await page.getByRole('main').textContent()).toContain('lists the names of your files')
    await follow(page, 'Continue to the local authorization server')
    expect(await page.getByRole('checkbox').isChecked()).toBe(true)
    await press(page, 'Allow')
    expect([page.url(), await heading(page)]).toEqual([`${url}/files`, 'Your files'])
    expect(await page.getByRole('main').textContent()).toContain('Letter from alice.txt')

    await page.goto('/calendar')
    await page.getByRole('checkbox').uncheck()
    await press(page, 'Allow')
    expect([page.url(), await heading(page)]).toEqual([`${url}/calendar`, 'A permission is missing'])
    await follow(page, 'Ask again')
    await press(page, 'Allow')
    expect([page.url(), await heading(page)]).toEqual([`${url}/calendar`, 'Your calendar'])

    await page.goto('/profile')
    await page.getByLabel('A new note').fill('<b>milk</b>')
    await press(page, 'Save the note')
    expect(await page.getByRole('status').textContent()).toBe('Your note is saved.')
    expect(await page.getByRole('listitem').allTextContents()).toContain('<b>milk</b>')

    await page.goto('/jobs/refresh')
    expect(await page.getByRole('status').textContent()).toContain('The stored access token is still good')
    await press(page, 'Get a new access token')
    expect(await page.getByRole('status').textContent()).toContain('The job got a new access token')

    await press(page, 'Sign out')
    expect([page.url(), await heading(page)]).toEqual([`${url}/`, 'One permission at a time'])
    expect(await page.getByRole('button', { name: 'Sign out' }).count()).toBe(0)
  }

  test('sign in, allow more, decline, be asked again, sign out', async () => {
    const { page, url } = await start()
    await wholeWay(page, url)
  })

  test('the same without JavaScript', async () => {
    const { page, url } = await start({ javaScriptEnabled: false })
    await wholeWay(page, url)
  })

  test('after signing out, the back button shows nothing any more', async () => {
    const { page, url } = await start()
    await signIn(page)
    // Not a guarded page: the authorization server still knows the person, and signing in again would ask nothing.
    await page.goto('/connections')
    expect(await page.content()).toContain('alice@example.test')
    await press(page, 'Sign out')
    // A click does not wait for where it leads; going back before that is there is something else.
    await page.waitForURL(`${url}/`)
    await page.getByRole('button', { name: 'Sign out' }).waitFor({ state: 'detached' })
    await page.evaluate(() => history.back())
    await page.waitForURL(`${url}/connections`)
    await page.waitForLoadState()
    expect(await page.content()).not.toContain('alice@example.test')
  })

  test('refusing everything, and starting again', async () => {
    const { page, url } = await start()
    await page.goto('/profile')
    await fillIn(page)
    await press(page, 'Refuse everything')
    expect(await heading(page)).toBe('Access was not granted')
    await follow(page, 'Start again')
    await press(page, 'Allow')
    expect([page.url(), await heading(page)]).toEqual([`${url}/profile`, 'Your profile'])
  })

  test('taking the access back', async () => {
    const { page, url, server } = await start()
    await signIn(page)
    await page.goto('/connections')
    await press(page, 'Take the access back')
    expect(page.url()).toBe(`${url}/connections?revoked=revoked`)
    expect(await page.getByRole('status').textContent()).toContain('The access was taken back')
    expect(server.revocations).toHaveLength(1)
    await page.goto('/files')
    expect(await heading(page)).toBe('Example app wants access')
  })

  describe('two tabs of a fresh browser, both begun before either ends', () => {
    test('one after the other', async () => {
      const { context, page: first, url } = await start()
      const second = await context.newPage()
      await first.goto('/files')
      await second.goto('/profile')
      await fillIn(first)
      await press(first, 'Allow')
      expect([first.url(), await heading(first)]).toEqual([`${url}/files`, 'Your files'])
      await fillIn(second)
      if ((await second.getByRole('button', { name: 'Allow', exact: true }).count()) > 0) await press(second, 'Allow')
      expect([second.url(), await heading(second)]).toEqual([`${url}/profile`, 'Your profile'])
      await first.reload()
      expect(await heading(first)).toBe('Your files')
    })

    test('at the same time, from the first request on', async () => {
      const { context, page: first, url } = await start()
      const second = await context.newPage()
      await Promise.all([first.goto('/files'), second.goto('/calendar')])
      // The authorization server has one sign-in for the whole browser: whoever comes later may skip some of its pages.
      await Promise.all([throughAll(first, url), throughAll(second, url)])
      expect([first.url(), await heading(first)]).toEqual([`${url}/files`, 'Your files'])
      expect([second.url(), await heading(second)]).toEqual([`${url}/calendar`, 'Your calendar'])
      // Both permissions are there in the end, whoever came last.
      await first.reload()
      await second.goto('/files')
      expect([await heading(first), await heading(second)]).toEqual(['Your files', 'Your files'])
    })

    /** Fills in whatever the authorization server asks, until the app has the page again. */
    async function throughAll(page: Page, url: string) {
      for (let pages = 0; !page.url().startsWith(url) && pages < 8; pages++) {
        if ((await page.getByLabel('User name').count()) > 0) await fillIn(page)
        else await press(page, 'Allow')
        await page.waitForLoadState()
      }
    }
  })

  describe('the callback is opened again', () => {
    /** Signs in at `/profile`, and tells the callback's URL. */
    async function signInAtProfile(context: BrowserContext, page: Page): Promise<string> {
      let callback = ''
      context.on('request', (request) => {
        if (new URL(request.url()).pathname === '/oauth2callback') callback = request.url()
      })
      await page.goto('/profile')
      await fillIn(page)
      await press(page, 'Allow')
      expect(await heading(page)).toBe('Your profile')
      return callback
    }

    test('by its address: where it led before', async () => {
      const { context, page, url, server } = await start()
      const callback = await signInAtProfile(context, page)
      await page.goto(callback)
      expect([page.url(), await heading(page)]).toEqual([`${url}/profile`, 'Your profile'])
      await page.reload()
      expect(await heading(page)).toBe('Your profile')
      expect(server.tokenRequests).toHaveLength(1)
    })

    test('by the back button: nothing is lost, whatever page that shows', async () => {
      const { context, page, url } = await start()
      await signInAtProfile(context, page)
      for (let steps = 0; steps < 3; steps++) {
        await page.goBack().catch(() => null)
        expect(page.url()).not.toContain('/oauth2callback')
      }
      await page.goto('/profile')
      expect([page.url(), await heading(page)]).toEqual([`${url}/profile`, 'Your profile'])
    })

    test('by another browser: refused', async () => {
      const { context, page, url } = await start()
      const callback = await signInAtProfile(context, page)
      const other = await chrome.newContext({ baseURL: url })
      onTestFinished(() => other.close())
      const stranger = await other.newPage()
      const response = await stranger.goto(callback)
      expect(response?.status()).toBe(400)
      expect(await stranger.content()).toContain('FST_OAUTH2_STATE_INVALID')
    })
  })

  test('every page fits on a narrow phone, in light and dark', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, url } = await start({ colorScheme, viewport: { width: 320, height: 640 }, isMobile: true })
      const fits = async () => {
        const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
        expect([page.url(), Math.max(0, excess)]).toEqual([page.url(), 0])
        expect((await page.screenshot({ fullPage: true })).length).toBeGreaterThan(1000)
      }
      await page.goto('/')
      await fits()
      await follow(page, 'Sign in')
      await fits()
      await fillIn(page, 'a-person-with-a-rather-long-name')
      await fits()
      await press(page, 'Allow')
      await fits()
      await page.goto('/calendar')
      await fits()
      await page.getByRole('checkbox').uncheck()
      await press(page, 'Allow')
      await fits()
      await page.goto('/files')
      await press(page, 'Allow')
      await fits()
      for (const path of ['/profile', '/connections', '/jobs/refresh', '/nothing-here']) {
        await page.goto(path)
        expect(page.url()).toBe(url + path)
        await fits()
      }
    }
  })

  test('the keyboard is enough', async () => {
    const { page, url } = await start()
    await page.goto('/')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Sign in')
    await page.keyboard.press('Enter')
    await page.waitForURL((to) => to.origin !== url)
    // The authorization server puts the focus into the first field; the browser does so some time after the page is there.
    await page.waitForFunction(() => document.activeElement?.getAttribute('name') === 'username')
    await page.keyboard.type('alice')
    await page.keyboard.press('Tab')
    await page.keyboard.type('password')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Allow', exact: true }).focus()
    await page.keyboard.press('Enter')
    await page.waitForURL(`${url}/`)
    expect(await heading(page)).toBe('Hello alice@example.test')
  })
})
