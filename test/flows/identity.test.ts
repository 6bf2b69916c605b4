/** Whose tokens these are, and what was granted with them. */
import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import type { IdentityContext, ProviderIdentity } from '../../src/provider/preset.js'
import { startApp, type TestAppOptions } from '../helpers/app.js'
import { answer } from '../routes/flow.js'

const FAILED = [502, 'FST_OAUTH2_EXCHANGE_FAILED']

describe('with an ID token', () => {
  const signIn = async (options: TestAppOptions, setUp: (app: Awaited<ReturnType<typeof startApp>>) => void) => {
    const app = await startApp(options)
    setUp(app)
    const page = await app.browser.goto(`${app.url}/profile`)
    return { ...app, page }
  }

  test('userinfo is asked for an address that is missing, and for nothing else', async () => {
    const named = await signIn({}, () => {})
    expect(named.page.json()).toMatchObject({ user: 'sub-alice', email: 'alice@example.com' })
    expect(named.provider.count('userinfo')).toBe(0)

    const unasked = await signIn({ client: { scopes: ['openid'] } }, ({ provider }) => {
      provider.idTokenClaims = ({ email: _, ...claims }) => claims
    })
    expect(unasked.page.json()).toMatchObject({ user: 'sub-alice', email: null })
    expect(unasked.provider.count('userinfo')).toBe(0)

    const nowhere = await signIn({}, ({ provider }) => {
      provider.metadata = ({ userinfo_endpoint: _, ...metadata }) => metadata
      provider.idTokenClaims = ({ email: _, ...claims }) => claims
    })
    expect(nowhere.page.json()).toMatchObject({ user: 'sub-alice', email: null })
    expect(nowhere.provider.count('userinfo')).toBe(0)
  })

  test('what the provider signed wins over what userinfo says', async () => {
    const { page } = await signIn({}, ({ provider }) => {
      provider.idTokenClaims = ({ email: _, ...claims }) => ({ ...claims, name: 'Alice' })
      provider.userinfoAnswer = async (_params, defaults) => ({
        body: { ...(await defaults()).body, name: 'Mallory', locale: 'de' },
      })
    })
    expect(page.json().claims).toMatchObject({ name: 'Alice', locale: 'de', email: 'alice@example.com' })
  })

  test('an address that is no text is none', async () => {
    const { page } = await signIn({}, ({ provider }) => {
      provider.idTokenClaims = (claims) => ({ ...claims, email: ['alice@example.com'] })
    })
    expect(page.json()).toMatchObject({ user: 'sub-alice', email: null })
  })

  test('openid was granted, though the answer does not list it', async () => {
    const { page } = await signIn({}, ({ provider }) => {
      provider.tokenAnswer = async (_params, defaults) => ({ body: { ...(await defaults()).body, scope: 'email' } })
    })
    expect([...page.json().scopes].sort()).toEqual(['email', 'openid'])
  })
})

describe('without one, the preset finds it out', () => {
  const signIn = async (
    identity: ((context: IdentityContext) => Promise<ProviderIdentity>) | undefined,
    dpop = false,
  ) => {
    const app = await startApp({
      client: ({ issuer }) => ({
        dpop,
        scopes: ['files.read'],
        provider: {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          ...(identity && { identity }),
        },
      }),
    })
    app.provider.tokenAnswer = async (_params, defaults, { headers }) => {
      const { id_token: _, ...body } = (await defaults()).body
      return { body: { ...body, token_type: headers.dpop ? 'DPoP' : 'Bearer' } }
    }
    return { ...app, page: await app.browser.goto(`${app.url}/profile`) }
  }

  test('with the token that came, and through the fetch that is bounded', async () => {
    const asked: IdentityContext[] = []
    const { page, provider } = await signIn(async (context) => {
      asked.push(context)
      const response = await context.fetch(`${context.issuer}/api/me`)
      return { id: `number-${response.status}`, email: 'seven@example.com', claims: { name: 'Seven' } }
    })
    expect(page.json()).toMatchObject({
      user: 'number-401',
      email: 'seven@example.com',
      claims: { name: 'Seven' },
      scopes: ['files.read'],
    })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({ issuer: provider.issuer })
    expect(provider.isValidAccessToken(asked[0]?.accessToken as string)).toBe(true)
    expect(asked[0]).not.toHaveProperty('dpopProof')
  })

  test('with a proof, where the token is bound to a key', async () => {
    let proof: string | undefined
    const { page } = await signIn(async ({ dpopProof, issuer }) => {
      proof = await dpopProof?.({ url: `${issuer}/api/me`, method: 'POST' })
      return { id: 'number-7' }
    }, true)
    expect(page.json().user).toBe('number-7')
    expect(decodeJwt(proof as string)).toMatchObject({ htm: 'POST', ath: expect.any(String) })
  })

  test.each<[string, () => Promise<unknown>, string]>([
    ['nothing', async () => undefined, 'TypeError: identity() gave no id'],
    ['null', async () => null, 'TypeError: identity() gave no id'],
    ['an empty id', async () => ({ id: '' }), 'TypeError: identity() gave no id'],
    ['an id that is no text', async () => ({ id: 7 }), 'TypeError: identity() gave no id'],
    ['an error', async () => Promise.reject(new RangeError('canary')), 'RangeError'],
  ])('%s is nobody: nobody is signed in, and the log says what is wrong with it', async (_name, identity, why) => {
    const { page, browser, url, logs } = await signIn(identity as () => Promise<ProviderIdentity>)
    expect(answer(page)).toEqual(FAILED)
    expect((await browser.goto(`${url}/`)).json()).toEqual({ user: null, has: false })
    expect(page.body + logs.text()).not.toContain('canary')
    expect(logs.text()).toContain(`caused by: ${why}`)
  })
})
