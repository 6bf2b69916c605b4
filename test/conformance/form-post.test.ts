// The relying-party modules of the OpenID conformance suite that differ where answers are posted, by their names.
import { expect, test } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { startApp } from '../helpers/app.js'
import { answer } from '../routes/flow.js'

/** An app on another site than the provider, as far as browsers are concerned. */
async function start(client: Partial<OAuth2ClientOptions> = {}) {
  const app = await startApp({ client: { responseMode: 'form_post', ...client } })
  return { ...app, url: app.url.replace('localhost', '127.0.0.1') }
}

test('oidcc-client-test: form_post', async () => {
  const { browser, url, provider } = await start()
  const form = await browser.goto(`${url}/profile`)
  expect(new URL(form.url).searchParams.get('response_mode')).toBe('form_post')
  const page = await browser.submit(form)
  expect([page.url, page.json().user]).toEqual([`${url}/profile`, 'sub-alice'])
  expect(provider.count('token')).toBe(1)
})

test('oidcc-client-test-form-post-error', async () => {
  const { browser, url, provider } = await start({ authorizationParams: { prompt: 'none', max_age: '0' } })
  const asked: unknown[] = []
  provider.authorizeAnswer = ({ max_age, prompt, state = '' }) => {
    asked.push({ max_age, prompt })
    return { error: 'login_required', error_description: 'evil', state, iss: provider.issuer }
  }
  // What a provider cannot do without asking is asked for once more, where it may ask. A refusal of that is the end.
  const again = await browser.submit(await browser.goto(`${url}/profile`))
  expect(new URL(again.url).origin).toBe(provider.issuer)
  const page = await browser.submit(again)
  expect(asked).toEqual([{ max_age: '0', prompt: 'none' }, { max_age: '0' }])
  expect(answer(page)).toEqual([403, 'FST_OAUTH2_ACCESS_DENIED'])
  expect(page.headers.get('content-type')).toContain('text/html')
  expect(page.body).not.toContain('evil')
  expect(provider.count('token')).toBe(0)
  expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
})
