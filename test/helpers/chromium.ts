/** Chromium, for tests of what only a real browser does. On a bare machine they are left out; the example app's tests say so. */
import { existsSync } from 'node:fs'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { describe, onTestFinished } from 'vitest'

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'

export function describeInChromium(name: string, tests: () => void): void {
  describe.skipIf(!existsSync(executablePath))(name, { timeout: 60_000, retry: 1 }, tests)
}

/** A page of a browser of its own, which is closed when the test ends. */
export async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  const chrome = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] })
  onTestFinished(() => chrome.close())
  return chrome.newPage(options)
}
