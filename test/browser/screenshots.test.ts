/**
 * The pictures of the README. `SCREENSHOTS=1 npx vitest run test/browser/screenshots.test.ts` takes them again; otherwise this
 * sees to it that the pages are still there, and that the README shows the pictures that there are.
 */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startExample } from '../example-app/start.js'
import { fewColours } from '../helpers/png.js'
import { absent, fillIn, follow, launch, press } from './tour.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'docs/images')
const SCHEMES = ['light', 'dark'] as const
const PICTURES = ['permission', 'consent', 'connections'] as const
type Picture = (typeof PICTURES)[number]
const taking = process.env.SCREENSHOTS === '1'

/** From the first page to a connection, stopping where something is worth showing. */
async function walk(page: Page, show: (name: Picture) => Promise<void>): Promise<void> {
  await page.goto('/')
  await follow(page, 'Sign in')
  await fillIn(page)
  await press(page, 'Allow')
  await follow(page, 'Add your files')
  expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Your files need one more permission')
  await scrollTo(page, 'h1')
  await show('permission')
  await follow(page, 'Continue to the local authorization server')
  expect(await page.getByRole('checkbox').isChecked()).toBe(true)
  await show('consent')
  await press(page, 'Allow')
  await follow(page, 'Connections')
  expect(await page.getByText('Connected', { exact: true }).count()).toBe(1)
  await scrollTo(page, '.card')
  await show('connections')
}

/** The header is the same everywhere, and the window of a phone is small. */
const scrollTo = (page: Page, selector: string) =>
  page.locator(selector).evaluate((element) => window.scrollTo(0, element.getBoundingClientRect().top - 20))

describe.skipIf(absent)('the pages that the README shows', { timeout: 60_000, retry: 1 }, () => {
  test.each(SCHEMES)('in %s', async (colorScheme) => {
    const { url } = await startExample()
    const chrome = await launch()
    onTestFinished(() => chrome.close())
    const context = await chrome.newContext({
      baseURL: url,
      colorScheme,
      viewport: { width: 390, height: 880 },
      deviceScaleFactor: 1.5,
    })
    const shown: Picture[] = []
    if (taking) await mkdir(folder, { recursive: true })
    await walk(await context.newPage(), async (name) => {
      shown.push(name)
      const [page] = context.pages()
      if (taking && page)
        await writeFile(join(folder, `${name}-${colorScheme}.png`), fewColours(await page.screenshot()))
    })
    expect(shown).toEqual(PICTURES)
  })
})

test('the README shows every picture, for light and for dark, and says what is in it', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const names = PICTURES.flatMap((name) => SCHEMES.map((scheme) => `${name}-${scheme}.png`))
  expect((await readdir(folder)).sort()).toEqual([...names].sort())
  for (const name of names) {
    expect((await stat(join(folder, name))).size, name).toBeLessThan(60_000)
    expect((await readFile(join(folder, name))).subarray(1, 4).toString('latin1'), name).toBe('PNG')
  }
  for (const name of PICTURES) {
    expect(readme).toContain(`srcset="docs/images/${name}-dark.png"`)
    expect(readme).toMatch(new RegExp(`<img src="docs/images/${name}-light\\.png" [^>]*alt="[^"]{20,}"`))
  }
  const referred = [...readme.matchAll(/docs\/images\/[\w.-]+/g)].map(([path]) => path)
  for (const path of referred) expect((await stat(join(root, path))).isFile(), path).toBe(true)
})
