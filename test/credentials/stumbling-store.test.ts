import { expect, test } from 'vitest'
import { Credentials } from '../../src/index.js'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { breakableStore } from '../helpers/breakable-store.js'

test('a refresh token that a provider rotated survives a store that stumbles just then', async () => {
  const store = breakableStore(memoryStore())
  const { browser, url, provider, clock } = await startApp({ storage: store })
  provider.refreshTokenPolicy = 'rotate'
  await browser.goto(`${url}/profile`)
  clock.advance(3_600_000)
  const held = provider.hold('token')
  const answer = browser.goto(`${url}/profile`)
  await held.arrived()
  // The provider has given the old one up; the new one exists nowhere but in this process.
  store.failing = 'put'
  held.release()
  setTimeout(() => {
    store.failing = false
  }, 500)
  expect((await answer).status).toBe(200)
  expect(provider.count('token', 'refresh_token')).toBe(1)
  clock.advance(3_600_000)
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(provider.count('token', 'refresh_token')).toBe(2)
})

test('it survives, too, when somebody else writes just then and the store stumbles afterwards', async () => {
  const inner = memoryStore()
  const store = breakableStore(inner)
  const { app, browser, url, provider, clock } = await startApp({ storage: store })
  provider.refreshTokenPolicy = 'rotate'
  await browser.goto(`${url}/profile`)
  clock.advance(3_600_000)
  const held = provider.hold('token')
  const answer = browser.goto(`${url}/profile`)
  await held.arrived()
  // Another account of the same person: the write of the refresh loses, and has to look what is there.
  const user = await app.oauth2.user('sub-alice')
  await user.adopt(new Credentials({ accessToken: 'at', userId: 'another', refreshToken: 'rt' }))
  store.failing = 'get'
  held.release()
  setTimeout(() => {
    store.failing = false
  }, 500)
  expect((await answer).status).toBe(200)
  clock.advance(3_600_000)
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(provider.count('token', 'refresh_token')).toBe(2)
  expect((await app.oauth2.user('sub-alice')).accounts()).toHaveLength(2)
})

test('a claim that was written though the store said otherwise holds nobody up', async () => {
  const inner = memoryStore()
  let lost = false
  const put: typeof inner.put = async (key, value, expected) => {
    const generation = await inner.put(key, value, expected)
    if (lost) throw new Error('the connection was cut before the answer')
    return generation
  }
  const { browser, url, provider, clock } = await startApp({ storage: { ...inner, put } })
  await browser.goto(`${url}/profile`)
  clock.advance(3_600_000)
  lost = true
  expect((await browser.goto(`${url}/profile`)).status).toBe(503)
  expect(provider.count('token', 'refresh_token')).toBe(0)
  lost = false
  expect((await browser.goto(`${url}/profile`)).status).toBe(200)
  expect(provider.count('token', 'refresh_token')).toBe(1)
})
