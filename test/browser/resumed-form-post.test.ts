/** N4 in a real browser: what is filled in comes through consent unchanged, without JavaScript, and past the checks of the app. */
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client, { requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startAuthorizationServer } from '../../src/testing/index.js'
import { describeInChromium, openPage } from '../helpers/chromium.js'
import { listen } from '../helpers/listen.js'
import { describeEachSession } from '../helpers/session-plugins.js'

const FORM = 'application/x-www-form-urlencoded'
describeInChromium('a form that waits for consent in Chromium', () => {
  describeEachSession((variant) => {
    test.each([true, false])('is shown, and sent as it was filled in. JavaScript: %s', async (javaScriptEnabled) => {
      const server = await startAuthorizationServer()
      onTestFinished(() => server.close())
      const app = Fastify()
      onTestFinished(() => app.close())
      variant.register(app)
      app.register(oauth2Client, {
        provider: { issuer: server.issuer },
        clientId: server.clientId,
        clientSecret: server.clientSecret,
        storage: memoryStore(),
      })
      // As it came over the wire, so that nothing that changed on the way can be missed.
      app.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => done(null, body))
      const posted: { body: unknown; site: unknown; origin: unknown }[] = []
      app.addHook('preHandler', async ({ method, headers, body }) => {
        if (method === 'POST') posted.push({ body, site: headers['sec-fetch-site'], origin: headers.origin })
      })
      app.get('/write', async (_request, reply) => {
        reply.header('content-security-policy', `default-src 'none'; form-action 'self' ${server.issuer}`)
        return reply.type('text/html; charset=utf-8').send(`<!doctype html>
<form method="post" action="/notes?from=write"><label>Title <input name="title"></label>
<label>Text <textarea name="text"></textarea></label>
<input type="checkbox" name="tag" value="one" checked><input type="checkbox" name="tag" value="two" checked>
<input type="hidden" name="_csrf" value="t&quot;k"><button name="how" value="now">Save</button></form>`)
      })
      app.post('/notes', { preHandler: requireOAuth(undefined, { resume: true }) }, (_request, reply) =>
        reply.redirect('/done', 303),
      )
      app.get('/done', async () => 'done')
      app.get('/frame', (request, reply) =>
        reply.type('text/html').send(`<iframe src="${(request.query as { of: string }).of}"></iframe>`),
      )
      const url = await listen(app)

      const page = await openPage({ javaScriptEnabled })
      const complaints: string[] = []
      page.on('console', (message) => void complaints.push(message.text()))
      await page.goto(`${url}/write`)
      await page.getByLabel('Title').fill('Milk & <b>bread</b> ✓')
      await page.getByLabel('Text').fill('first line\nsecond "line"\n\n+%20&x=y')
      await page.getByRole('button', { name: 'Save' }).click()
      await page.getByLabel('User name').fill('alice')
      await page.getByLabel('Password').fill('password')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Allow' }).click()

      await page.getByRole('heading', { name: 'Send this form now?' }).waitFor()
      expect(await page.getByRole('definition').allTextContents()).toEqual([
        'Milk & <b>bread</b> ✓',
        'first line\nsecond "line"\n\n+%20&x=y',
        'one',
        'two',
        't"k',
        'now',
      ])
      expect(posted).toHaveLength(1)
      const shown = page.url()
      // In a frame, also in one of our own, it is nothing but an error of the browser's.
      await page.goto(`${url}/frame?of=${encodeURIComponent(shown)}`)
      await expect.poll(() => page.frames()[1]?.url()).toBe('chrome-error://chromewebdata/')
      await page.goto(shown)
      await page.reload()
      await page.getByRole('button', { name: 'Send it' }).click()
      await page.waitForURL(`${url}/done`)
      // The same bytes, from a page of ours.
      expect(posted).toEqual([posted[0], posted[0]])
      expect(posted[0]).toMatchObject({ site: 'same-origin', origin: url })
      expect(complaints.filter((text) => /policy|refused/i.test(text) && !/frame/i.test(text))).toEqual([])

      await page.goto(shown)
      expect(await page.getByRole('heading').textContent()).toBe('This form is not kept any more')
    })
  })
})
