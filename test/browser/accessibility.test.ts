/** Everybody can use every page: axe finds nothing, the keyboard is enough, small screens and thumbs are. */
import axe from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startExample } from '../example-app/start.js'
import { absent, launch, tour } from './tour.js'

const PHONE = { width: 360, height: 740 }
const NARROW = { width: 320, height: 640 }
const DESK = { width: 1_000, height: 700 }

/** What axe finds in the page as it is shown now: rule, impact, and where. */
async function violations(page: Page): Promise<string[]> {
  const loaded = await page.evaluate('typeof axe').catch(() => 'undefined')
  if (loaded === 'undefined') await page.addScriptTag({ content: axe.source })
  const found = await page.evaluate(
    () =>
      (globalThis as unknown as { axe: typeof axe }).axe
        // Off by default: WCAG 2.2, targets of at least 24 by 24 pixels, or with as much room around.
        .run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } })
        .then(({ violations }) =>
          violations.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map(({ html }) => html).join(' | ')}`),
        ),
    undefined,
  )
  return found
}

/** Buttons, fields and links that stand for themselves and are smaller than a fingertip wants. */
const tooSmall = (page: Page) =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('a, button, input:not([type=hidden]), textarea')]
      .filter((element) => !element.classList.contains('skip'))
      .filter((element) => getComputedStyle(element).display !== 'inline')
      // The words beside a box are part of the target.
      .map((element) => element.closest('label.tick') ?? element)
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect()
        return width < 24 || height < 24
      })
      .map((element) => element.outerHTML),
  )

/** What a screen reader goes by. */
const frame = (page: Page) =>
  page.evaluate(() => ({
    language: document.documentElement.lang,
    title: document.title !== '',
    landmarks: document.querySelectorAll('main').length,
    headings: document.querySelectorAll('h1').length,
    unlabelled: [...document.querySelectorAll<HTMLInputElement>('input:not([type=hidden]), textarea')].filter(
      ({ labels }) => !labels?.length,
    ).length,
    viewport: document.querySelector<HTMLMetaElement>('meta[name=viewport]')?.content.replaceAll(' ', ''),
  }))

describe.skipIf(absent)('for everybody', { timeout: 120_000, retry: 1 }, () => {
  let chrome: Browser
  beforeAll(async () => {
    chrome = await launch()
  }, 60_000)
  afterAll(() => chrome?.close())

  test('every page, in light and dark, on a phone and on a desk', { timeout: 300_000 }, async () => {
    const names: string[] = []
    // Nothing fades while it is looked at; axe is put into pages whose policy allows no scripts.
    const options = { viewport: PHONE, reducedMotion: 'reduce', bypassCSP: true } as const
    await tour(chrome, options, async (page, name) => {
      names.push(name)
      expect([name, await frame(page)]).toEqual([
        name,
        {
          language: 'en',
          title: true,
          landmarks: 1,
          headings: 1,
          unlabelled: 0,
          viewport: 'width=device-width,initial-scale=1',
        },
      ])
      for (const viewport of [PHONE, DESK]) {
        await page.setViewportSize(viewport)
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme })
          expect([name, viewport.width, colorScheme, await violations(page)]).toEqual([
            name,
            viewport.width,
            colorScheme,
            [],
          ])
        }
      }
      await page.setViewportSize(NARROW)
      expect([name, 'is wider than its window by', await excess(page)]).toEqual([
        name,
        'is wider than its window by',
        0,
      ])
      expect([name, 'has small targets', await tooSmall(page)]).toEqual([name, 'has small targets', []])
      await page.setViewportSize(PHONE)
    })
    expect(new Set(names).size).toBe(names.length)
    expect(names.length).toBeGreaterThan(40)
  })

  const excess = (page: Page) =>
    page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth))

  test('with the keyboard alone: sign in, allow one more, take it back; and one always sees where one is', async () => {
    const { url } = await startExample()
    const context = await chrome.newContext({ baseURL: url, reducedMotion: 'reduce' })
    onTestFinished(() => context.close())
    const page = await context.newPage()
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement
        const { outlineStyle, outlineWidth } = getComputedStyle(element)
        return {
          text: element.textContent?.trim() || element.getAttribute('name') || element.tagName,
          seen: outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2,
        }
      })
    /** Presses Tab until that is reached. */
    const tabTo = async (wanted: string) => {
      const passed: string[] = []
      for (let presses = 0; presses < 25; presses++) {
        await page.keyboard.press('Tab')
        const { text, seen } = await focused()
        expect([page.url(), text, seen]).toEqual([page.url(), text, true])
        if (text === wanted) return
        passed.push(text)
      }
      throw new Error(`no way to "${wanted}" on ${page.url()}, but to ${passed.join(', ')}`)
    }
    /** Goes there and presses Enter, which leads to another page. */
    const enter = async (wanted: string, next: string) => {
      await tabTo(wanted)
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { level: 1, name: next }).waitFor()
    }

    await page.goto('/')
    await page.keyboard.press('Tab')
    expect((await focused()).text).toBe('Skip to the content')
    await page.keyboard.press('Enter')
    await enter('Sign in', 'Sign in')
    await page.waitForFunction(() => document.activeElement?.getAttribute('name') === 'username')
    await page.keyboard.type('alice')
    await page.keyboard.press('Tab')
    await page.keyboard.type('password')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'Example app wants access' }).waitFor()
    await enter('Allow', 'Hello alice@example.test')
    await enter('Add your files', 'Your files need one more permission')
    await enter('Continue to the local authorization server', 'Example app wants access')
    await tabTo('scope')
    await page.keyboard.press('Space')
    await enter('Allow', 'A permission is missing')
    await enter('Ask again', 'Example app wants access')
    await enter('Allow', 'Your files')
    await enter('Connections', 'Connections')
    await tabTo('Take the access back')
    await page.keyboard.press('Enter')
    // What became of it has the focus, and so is read out.
    await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'status')
    expect((await focused()).text).toContain('The access was taken back')
  })

  test('what a button does stands beside it, for screen readers too', async () => {
    const { url } = await startExample()
    const context = await chrome.newContext({ baseURL: url })
    onTestFinished(() => context.close())
    const page = await context.newPage()
    await page.goto('/connections')
    await page.getByRole('main').getByRole('link', { name: 'Sign in' }).click()
    await page.getByLabel('User name').fill('alice')
    await page.getByLabel('Password').fill('password')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('button', { name: 'Allow', exact: true }).click()
    await page.getByRole('heading', { level: 1, name: 'Connections' }).waitFor()
    expect(await page.getByRole('main').ariaSnapshot()).toContain('region "alice@example.test"')
    const described = (role: 'link' | 'button', name: string) =>
      page.getByRole(role, { name, exact: true }).evaluate((element) => {
        const id = element.getAttribute('aria-describedby') ?? ''
        return document.getElementById(id)?.textContent
      })
    expect(await described('button', 'Take the access back')).toContain('in every browser, and signs you out')
    expect(await described('link', 'Reconnect')).toContain('renews what is stored')
    expect(await page.locator('[aria-current=page]').allTextContents()).toEqual(['Connections'])
  })
})
