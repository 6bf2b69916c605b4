import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  bindingIn,
  clientsIn,
  type Link,
  linkIn,
  shortHash,
  withBinding,
  withLink,
} from '../../src/session/link-text.js'

const word = fc.string({ minLength: 1, unit: 'binary' })
const client = fc.constantFrom('oauth2.aaaa', 'oauth2.aaab', 'oauth.2aaa', 'google.a-_b')
const link: fc.Arbitrary<Link> = fc.record(
  {
    id: word,
    user: word,
    at: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    sub: word,
    sid: word,
    kept: fc.constant(true as const),
    proofs: fc.array(fc.record({ account: word, acr: word }), { minLength: 1, maxLength: 3 }),
    done: fc.array(fc.tuple(fc.stringMatching(/^[\w-]{22}$/), word), { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['id'] },
)

test('whatever is written is read, for each client, whatever the users are called', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[\w.-]+$/), fc.dictionary(client, link), (binding, links) => {
      let text = withBinding('', binding)
      for (const [name, one] of Object.entries(links)) text = withLink(text, name, one)
      expect(bindingIn(text)).toBe(binding)
      expect(clientsIn(text).sort()).toEqual(Object.keys(links).sort())
      for (const [name, one] of Object.entries(links)) expect(linkIn(text, name)).toEqual(one)
      for (const name of Object.keys(links)) {
        text = withLink(text, name, undefined)
        expect(linkIn(text, name)).toBeUndefined()
      }
      expect(text).toBe(binding)
    }),
  )
})

test('what is written anew takes the place of what was there', () => {
  const text = withLink(withLink('b', 'a.1', { id: 'x', user: 'one' }), 'a.12', { id: 'y' })
  const next = withBinding(withLink(text, 'a.1', { id: 'z' }), 'c')
  expect([linkIn(next, 'a.1'), linkIn(next, 'a.12'), bindingIn(next)]).toEqual([{ id: 'z' }, { id: 'y' }, 'c'])
})

test('a link comes before a binding too, and none of either is none', () => {
  const text = withLink('', 'a.1', { id: 'x' })
  expect([bindingIn(text), linkIn(text, 'a.1'), linkIn('', 'a.1'), bindingIn('')]).toEqual([
    undefined,
    { id: 'x' },
    undefined,
    undefined,
  ])
})

test.each(['b|a.1 x %', 'b|a.1 x u 1    [', 'b|a.1 @x', 'b|a.1', 'b|a.1 ', '|', ' ', '||'])(
  'what an app has written over it is no link, and no crash: %j',
  (text) => {
    expect(linkIn(text, 'a.1')?.user).toBeUndefined()
    expect(linkIn(withLink(text, 'a.1', { id: 'x', user: 'u' }), 'a.1')).toEqual({ id: 'x', user: 'u' })
  },
)

test('of the hash of a state a part is kept, which is compared with the same part', () => {
  const hash = 'V4GwricGoQ7MH9U9K4FtLrRCOl4vy4t8RRqgNs3WIO0'
  expect(linkIn(withLink('', 'a.1', { id: 'x', done: [[hash, '/a b?c=d']] }), 'a.1')?.done).toEqual([
    [shortHash(hash), '/a b?c=d'],
  ])
})
