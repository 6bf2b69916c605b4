/** N3 in a real browser: what it says about who began a flow, and whether the page works with the policy that it has. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { describeInChromium, openPage } from '../helpers/chromium.js'
import { listen } from '../helpers/listen.js'
import { describeEachSession } from '../helpers/session-plugins.js'

describeInChromium('a lured person in Chromium', () => {
  describeEachSession((variant) => {
    test('is asked, says yes, and goes on, also to another host', async () => {
      const server = await startAuthorizationServer({ autoApprove: { user: 'mallory' } })
      onTestFinished(() => server.close())
      // Another site than localhost, as far as browsers are concerned.
      const evil = createServer((request, response) => {
        const to = request.url?.slice(1)
        response
          .setHeader('content-type', 'text/html')
          .end(to ? `<a href="${decodeURIComponent(to)}">Win!</a>` : 'the end')
      }).listen(0, '127.0.0.1')
      await once(evil, 'listening')
      onTestFinished(() => void evil.close())
      const app = Fastify()
      onTestFinished(() => app.close())
      variant.register(app)
      app.register(oauth2Client, {
        provider: { issuer: server.issuer },
        clientId: server.clientId,
        clientSecret: server.clientSecret,
        storage: memoryStore(),
        userKey: () => 'victim',
      })
      const evilUrl = `http://127.0.0.1:${(evil.address() as AddressInfo).port}`
      app.get('/on', { onRequest: requireOAuth() }, (_request, reply) => reply.redirect(evilUrl))
      const url = await listen(app)

      const page = await openPage()
      const complaints: string[] = []
      page.on('console', (message) => void complaints.push(message.text()))
      await page.goto(`${evilUrl}/${encodeURIComponent(`${url}/on`)}`)
      await page.getByRole('link').click()
      await page.getByRole('heading', { name: 'Connect this account?' }).waitFor()
      expect((await app.oauth2.user('victim')).accounts()).toEqual([])
      await page.reload()
      expect(await page.getByRole('listitem').allTextContents()).toContain('Account: mallory@example.test')
      await page.getByRole('button', { name: 'Connect this account' }).click()
      await page.waitForURL(`${evilUrl}/`)
      expect((await app.oauth2.user('victim')).accounts()).toMatchObject([{ id: 'sub-mallory' }])
      expect(complaints.filter((text) => /policy|refused/i.test(text))).toEqual([])
    })
  })
})
