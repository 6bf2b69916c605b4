/** F2 in a real browser: which cookies it sends with a form of another site, and with the navigation after it. */
import Fastify from 'fastify'
import { exportJWK, generateKeyPair } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import oauth2Client, { type ResponseMode, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { describeInChromium, openPage } from '../helpers/chromium.js'
import { startFapiServer } from '../helpers/fapi-server.js'
import { listen } from '../helpers/listen.js'
import { describeEachSession } from '../helpers/session-plugins.js'

describeInChromium('an answer in a form, and Chromium', () => {
  describeEachSession((variant) => {
    test.each<ResponseMode>(['form_post.jwt'])(
      '%s: signs in to the session that was there before',
      async (responseMode) => {
        const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
        const server = await startFapiServer({ ...(await exportJWK(publicKey)), alg: 'ES256' }, 'ES256')
        const app = Fastify()
        onTestFinished(() => app.close())
        variant.register(app)
        app.register(oauth2Client, {
          provider: { issuer: server.issuer },
          clientId: server.clientId,
          clientKey: privateKey,
          responseMode,
          storage: memoryStore(),
          encryptionKeys: 'encryption-key-of-this-test-of-enough-length',
        })
        app.get('/cart', async (request) => {
          request.session.set('cart' as never, 'full' as never)
          return {}
        })
        app.get('/me', { onRequest: requireOAuth() }, async ({ oauth2, session }) => ({
          user: oauth2.userId,
          cart: session.get('cart' as never),
        }))
        // Another site than localhost, as far as browsers are concerned.
        const url = (await listen(app)).replace('localhost', '127.0.0.1')
        await server.open(`${url}/oauth2callback`)

        const page = await openPage()
        const seen: string[] = []
        page.on('request', (request) => void seen.push(`${request.method()} ${request.url()}`))
        await page.goto(`${url}/cart`)
        await page.goto(`${url}/me`)
        await page.waitForURL(`${url}/me`)
        expect(JSON.parse((await page.textContent('body')) ?? '')).toEqual({ user: 'alice', cart: 'full' })
        expect(seen).toContain(`POST ${url}/oauth2callback`)
        expect(seen.filter((line) => line.includes(url) && /code=|state=|response=/.test(line))).toEqual([])
        const left = (await page.context().cookies()).map(({ name }) => name)
        expect(left.filter((name) => /flow\.|answer\./.test(name))).toEqual([])
      },
    )
  })
})
