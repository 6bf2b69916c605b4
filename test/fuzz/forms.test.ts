// What is posted to us: by providers, by browsers on their behalf, and by people whose forms are kept for them.
import fc from 'fast-check'
import type { JWTPayload } from 'jose'
import { beforeEach, describe, expect } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { type FuzzedApp, fuzzedApp } from './app.js'
import type { RawBrowser } from './client.js'
import { fuzz } from './fuzz.js'
import { described, hostileJson, hostileText, mutations } from './hostile.js'
import { CANARY } from './in-process-provider.js'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** Claims of a JWT that are changed before it is signed, or the whole text after that. */
function changedJwt(names: readonly string[]) {
  const claims = fc.dictionary(fc.constantFrom(...names), hostileJson(names), { maxKeys: 2 })
  const typ = fc.constantFrom(undefined, 'logout+jwt', 'JWT', 'at+jwt', 5)
  return fc.tuple(claims, typ, fc.oneof(fc.constant(described((text: string) => text, 'as it is')), mutations))
}

describe('a provider that tells of a logout', () => {
  const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
  let app: FuzzedApp
  let browser: RawBrowser
  beforeEach(async () => {
    app = await fuzzedApp({ storage: memoryStore(), client: { backchannelLogout: true } })
    browser = await app.signedIn()
  })

  let count = 0
  const names = ['iss', 'aud', 'iat', 'exp', 'nbf', 'jti', 'sub', 'sid', 'events', 'nonce', EVENT]
  fuzz('logout tokens', fc.tuple(changedJwt(names), hostileText), async ([[claims, typ, mutate], rest]) => {
    count += 1
    const right = { jti: `${CANARY}-${count}`, sub: 'somebody-else', events: { [EVENT]: {} } }
    const token = await app.provider.sign({ ...right, ...(claims as JWTPayload) }, { typ })
    const body = `logout_token=${mutate(token)}&${rest}`
    const answer = await app.browser().get('/oauth2logout/backchannel', FORM, 'POST', body)
    app.harmless(answer)
    expect([200, 400, 413, 415]).toContain(answer.status)
    expect(answer.headers['set-cookie']).toBeUndefined()
    // Who was not named, or not by this provider, stays.
    if (answer.status === 400 || claims.sub === undefined) expect((await browser.get('/profile')).status).toBe(200)
    else browser = await app.signedIn()
  })
})

describe('a browser that brings an answer in a form', () => {
  const modes = ['form_post', 'form_post.jwt', 'jwt'] as const
  let apps: FuzzedApp[]
  beforeEach(async () => {
    apps = await Promise.all(modes.map((responseMode) => fuzzedApp({ client: { responseMode } })))
  })

  const names = ['state', 'code', 'iss', 'aud', 'exp', 'iat', 'error', 'response', 'id_token', 'access_token']
  const answers = fc.tuple(fc.nat(2), changedJwt(names), mutations, hostileText)
  fuzz('posted answers', answers, async ([index, [claims, typ, mutate], mutateForm, rest]) => {
    const app = apps[index] as FuzzedApp
    const { browser, state } = await app.begun()
    const right = { code: `${CANARY}-code`, state }
    const jwt = await app.provider.sign({ ...right, ...(claims as JWTPayload) }, { typ })
    const plain = `code=${CANARY}-code&state=${state}`
    const form = modes[index] === 'form_post' ? mutateForm(plain) : `response=${mutate(jwt)}&${rest}`
    const target = modes[index] === 'jwt' ? `/oauth2callback?${encodeURI(toAscii(form))}` : '/oauth2callback'
    const posted = modes[index] !== 'jwt'
    let answer = await (posted ? browser.get(target, FORM, 'POST', form) : browser.get(target))
    app.harmless(answer)
    expect(JSON.stringify([answer.body, answer.headers.location ?? ''])).not.toContain(state)
    if (answer.status === 303 && posted) {
      answer = await browser.get(answer.headers.location as string)
      app.harmless(answer)
    }
    if (answer.status !== 303) expect((await browser.get('/profile')).status).not.toBe(200)
  })
})

describe('a person whose form is kept', () => {
  let app: FuzzedApp
  beforeEach(async () => {
    app = await fuzzedApp({ storage: memoryStore() })
  })

  const field = fc.tuple(hostileText, hostileText)
  const forms = fc.oneof(
    fc.array(field, { maxLength: 8 }).map((fields) => new URLSearchParams(fields.map(([n, v]) => [n, v])).toString()),
    hostileText,
  )
  fuzz('forms that are kept', forms, async (body) => {
    const browser = app.browser()
    const person = {
      ...FORM,
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    }
    const sent = await browser.get('/notes', person, 'POST', body)
    app.harmless(sent)
    if (sent.status !== 303) return
    const asked = new URL(sent.headers.location as string).searchParams
    app.provider.nonce = asked.get('nonce') ?? ''
    const back = await browser.get(`/oauth2callback?code=c&state=${asked.get('state')}`)
    expect(back.status, back.body).toBe(303)
    const page = await browser.get(back.headers.location as string)
    app.harmless(page)
    expect(page.status, page.body).toBe(200)
    // Whatever the fields hold, it is text: the page has no script, no other origin, and one form.
    expect(page.body).not.toMatch(/<(script|img|iframe|base|meta http)/i)
    expect(page.body.match(/<form/g)).toHaveLength(1)
    expect(page.body).toMatch(/<form[^>]+action="\/notes"/)
  })
})

function toAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
