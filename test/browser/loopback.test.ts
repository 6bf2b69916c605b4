/** The loopback flow with a real browser, which asks for icons, opens connections ahead of time and keeps them. */
import { expect, onTestFinished, test } from 'vitest'
import { runLocalServerFlow } from '../../src/installed/index.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { describeInChromium, openPage } from '../helpers/chromium.js'

describeInChromium('a program and Chromium', () => {
  test.each([
    ['Allow', 'Signed in', 'You are signed in.'],
    ['Refuse everything', 'Access was not granted', 'Nothing was changed.'],
  ])('%s: the page says so, and the program goes on at once', async (button, heading, sentence) => {
    const server = await startAuthorizationServer({ clients: [{ clientId: 'desktop' }], scopes: { 'files.read': {} } })
    onTestFinished(() => server.close())
    const page = await openPage()
    const complaints: string[] = []
    page.on('console', (message) => {
      if (/content security policy|refused to/i.test(message.text())) complaints.push(message.text())
    })
    const outcome = await runLocalServerFlow({
      provider: { issuer: server.issuer },
      clientId: 'desktop',
      scopes: ['openid', 'email', 'files.read'],
      openBrowser: async (url) => {
        await page.goto(url)
        await page.getByLabel('User name').fill('alice')
        await page.getByLabel('Password').fill('password')
        await page.getByRole('button', { name: 'Sign in', exact: true }).click()
        await page.getByRole('button', { name: button, exact: true }).click()
      },
    }).catch((error: unknown) => error)
    if (button === 'Allow') expect(outcome).toMatchObject({ userId: 'sub-alice', email: 'alice@example.test' })
    else expect(outcome).toMatchObject({ code: 'FST_OAUTH2_ACCESS_DENIED' })
    // The page is complete, though the server that it came from is gone.
    await page.waitForURL(/^http:\/\/127\.0\.0\.1:/)
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(heading)
    expect(await page.textContent('main')).toContain(sentence)
    expect(complaints).toEqual([])
  })
})
