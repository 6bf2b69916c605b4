/** What becomes of an answer that says little: nobody's name, no address, no time. */
import { expect, test } from 'vitest'
import { type Authorized, requireOAuth } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { Browser } from '../helpers/browser.js'

for (const storage of ['session', 'store'] as const) {
  test(`a provider that tells nobody's name: a browser stays who it is, and is nobody else (${storage})`, async () => {
    const authorized: Authorized[] = []
    const { browser, url } = await startApp({
      storage: storage === 'session' ? 'session' : memoryStore(),
      client: { scopes: ['files.read'], onAuthorized: (_request, event) => void authorized.push(event) },
      routes: (app) =>
        app.get('/accounts', { onRequest: requireOAuth() }, async ({ oauth2 }) => ({
          user: oauth2.userId,
          claims: oauth2.claims,
          accounts: oauth2.accounts().length,
        })),
    })
    await browser.goto(`${url}/files`)
    const first = (await browser.xhr(`${url}/accounts`)).json()
    expect((await browser.goto(`${url}/calendar`)).json().scopes).toEqual(['files.read', 'calendar.read'])
    const then = (await browser.xhr(`${url}/accounts`)).json()
    expect(then).toEqual({ ...first, accounts: 1 })
    expect(authorized.map(({ user }) => user)).toEqual([authorized[0]?.user, authorized[0]?.user])
    expect(authorized.map(({ claims }) => claims)).toEqual([undefined, undefined])
    const other = new Browser()
    await other.goto(`${url}/files`)
    expect(authorized[2]?.user).not.toBe(authorized[0]?.user)
  })
}
