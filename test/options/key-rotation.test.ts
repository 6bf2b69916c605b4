import type { FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type CredentialStore, oauthAware } from '../../src/index.js'
import { KeyRing } from '../../src/keys/key-ring.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import type { Page } from '../helpers/browser.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, SlowSessionStore, sessionVariants } from '../helpers/session-plugins.js'

const old = 'the key of last year, which is long enough'
const young = 'the key of this year, which is long enough'

const routes = (app: FastifyInstance) => {
  app.get('/forms', { onRequest: oauthAware() }, async ({ oauth2 }) => ({
    csrf: oauth2.xsrfToken,
    more: await oauth2.authorizeUrl('/calendar', { scopes: 'calendar.read' }),
  }))
}

/** The same app deployed several times: one provider, one place for sessions, one store. */
async function deployments(variant: SessionVariant, storage: 'session' | 'store') {
  const sessions = new SlowSessionStore(0)
  const shared: CredentialStore | 'session' = storage === 'session' ? 'session' : memoryStore()
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const deploy = (encryptionKeys: string | string[]) =>
    startApp({
      provider,
      routes,
      storage: shared,
      variant: { ...variant, register: (app) => variant.register(app, { store: sessions }) },
      client: { encryptionKeys },
    })
  return { provider, deploy, shared }
}

/** What an operator does to whom a key is lost for good: an app without it starts again. */
async function giveUpKeys(store: CredentialStore | 'session'): Promise<void> {
  if (store === 'session') return
  for await (const key of store.list?.('keys/') ?? []) await store.delete(key)
}

const codeOf = (page: Page) => [page.status, /FST_OAUTH2_\w+/.exec(page.body)?.[0]]
/** The same URL at another deployment; cookies do not know ports. */
const at = (origin: string, url: string) => origin + url.slice(new URL(url).origin.length)

describe.each(sessionVariants.slice(1))('$name', (variant) => {
  describe.each(['session', 'store'] as const)('%s', (storage) => {
    // An encrypted session needs no layer of ours, and so no key of ours.
    const readable = storage === 'session' && variant.kind === 'secure-session'

    test('A15 the old key behind a new one: sessions, flows, links and forms go on', async () => {
      const { provider, deploy } = await deployments(variant, storage)
      const before = await deploy(old)
      const { browser } = before
      await browser.goto(`${before.url}/profile`)
      const forms = (await browser.xhr(`${before.url}/forms`)).json()
      const pending = await browser.goto(`${before.url}/files`, { stopAt: (url) => url.pathname === '/oauth2callback' })
      const after = await deploy([young, old])
      expect((await browser.goto(`${after.url}/profile`)).json()).toMatchObject({ user: 'sub-alice' })
      // The provider is told the redirect URI of the beginning, which the flow remembers.
      const done = await browser.step(at(after.url, pending.location as string))
      expect([done.status, done.location]).toEqual([303, `${after.url}/files`])
      expect((await browser.goto(`${after.url}/files`)).status).toBe(200)
      expect((await browser.step(after.url + forms.more)).location).toContain(provider.issuer)
      const signOut = await browser.xhr(`${after.url}/oauth2logout`, {
        method: 'POST',
        headers: { 'x-csrf-token': forms.csrf },
      })
      expect(signOut.status).toBe(204)
    })

    test('what the new deployment wrote is readable without the old key', async () => {
      const { deploy, provider, shared } = await deployments(variant, storage)
      const { browser, ...before } = await deploy(old)
      await browser.goto(`${before.url}/profile`)
      const between = await deploy([young, old])
      await browser.goto(`${between.url}/files`)
      await giveUpKeys(shared)
      const after = await deploy(young)
      expect((await browser.goto(`${after.url}/files`)).status).toBe(200)
      expect(provider.count('token', 'authorization_code')).toBe(2)
    })

    test('A15 the old key removed: refused with a code, never with a 500, and kept', async () => {
      const { deploy, shared, provider } = await deployments(variant, storage)
      const { browser, ...before } = await deploy(old)
      await browser.goto(`${before.url}/profile`)
      const forms = (await browser.xhr(`${before.url}/forms`)).json()
      const pending = await browser.goto(`${before.url}/files`, { stopAt: (url) => url.pathname === '/oauth2callback' })
      const stored = shared === 'session' ? undefined : await shared.get('user/oauth2/sub-alice')
      await giveUpKeys(shared)
      const after = await deploy(young)
      const callback = at(after.url, pending.location as string)
      expect(codeOf(await browser.step(callback))).toEqual([400, 'FST_OAUTH2_STATE_INVALID'])
      expect(codeOf(await browser.step(after.url + forms.more))).toEqual([400, 'FST_OAUTH2_TICKET_INVALID'])
      const signOut = { method: 'POST', headers: { 'x-csrf-token': forms.csrf } }
      expect((await browser.xhr(`${after.url}/oauth2logout`, signOut)).status).toBe(403)
      if (!readable) {
        for (const path of ['/profile', '/', ...(shared === 'session' ? [] : ['/oauth2authorize'])]) {
          expect(codeOf(await browser.step(after.url + path))).toEqual([503, 'FST_OAUTH2_CREDENTIALS_UNREADABLE'])
        }
        expect((await browser.xhr(`${after.url}/profile`)).json()).toMatchObject({
          reason: 'unknown_key',
          message: expect.stringMatching(
            `${new KeyRing([old]).kids[0]}.*Put the key back at the end of encryptionKeys`,
          ),
        })
      }
      expect(provider.count('token')).toBe(1)
      if (shared !== 'session') expect((await shared.get('user/oauth2/sub-alice'))?.value).toBe(stored?.value)
      expect((await browser.goto(`${before.url}/profile`)).status).toBe(200)
      if (shared !== 'session') return
      // What a session holds can only be replaced by its own person, who asks for that by signing in.
      const again = await browser.goto(`${after.url}/oauth2authorize?return_url=/profile`)
      expect([again.status, again.url]).toEqual([200, `${after.url}/profile`])
    })
  })
})

test('without keys they come from the client secret, and end with it', async () => {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  const storage = memoryStore()
  const variant = sessionVariants[2] as SessionVariant
  const { browser, url } = await startApp({ provider, storage, variant })
  await browser.goto(`${url}/profile`)
  const same = await startApp({ provider, storage, variant })
  expect((await browser.goto(`${same.url}/profile`)).status).toBe(200)
  await giveUpKeys(storage)
  const other = await startApp({ provider, storage, variant, client: { clientSecret: 'a new secret' } })
  expect(codeOf(await browser.goto(`${other.url}/profile`))).toEqual([503, 'FST_OAUTH2_CREDENTIALS_UNREADABLE'])
  // The way from there to keys of one's own, or to another client secret.
  const encryptionKeys = [young, `derived from the client secret: ${provider.clientSecret}`]
  const moved = await startApp({ provider, storage, variant, client: { clientSecret: 'a new secret', encryptionKeys } })
  expect((await browser.goto(`${moved.url}/profile`)).status).toBe(200)
})
