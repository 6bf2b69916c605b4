import { createHash, hkdfSync } from 'node:crypto'
import fc from 'fast-check'
import { FlattenedEncrypt, flattenedDecrypt } from 'jose'
import { describe, expect, test } from 'vitest'
import { KeyRing, type Purpose, readHeader, UnsealError } from '../../src/keys/key-ring.js'

const one = 'the first key, long enough to be one of the ring'
const two = 'the second key, long enough to be one of the ring'
const ring = new KeyRing([one])

/** The reason that opening gives, or the text. */
async function opened(keys: KeyRing, sealed: string, purpose: Purpose = 'flow', context = ['a']) {
  try {
    return { text: await keys.open(purpose, context, sealed) }
  } catch (error) {
    expect(error).toBeInstanceOf(UnsealError)
    return { reason: (error as UnsealError).reason }
  }
}

/** The same value with one bit of one part changed, as a whole byte so that it always means something else. */
function flipped(sealed: string, part: number, at: number, bit = 0): string {
  const parts = sealed.split('.')
  const bytes = Buffer.from(parts[part] as string, 'base64url')
  bytes[at % bytes.length]! ^= 1 << bit
  parts[part] = bytes.toString('base64url')
  return parts.join('.')
}

describe('sealing', () => {
  test('what is sealed is a JWE: a library of JOSE opens it, and what that one seals is opened', async () => {
    const key = new Uint8Array(hkdfSync('sha256', one, '', 'fastify-oauth2client/1 flow', 32))
    const aad = Buffer.from('22:fastify-oauth2client/1,4:flow,1:a')
    const [header = '', iv = '', ciphertext = '', tag = ''] = (await ring.seal('flow', ['a'], 'naïve')).split('.')
    const ours = { protected: header, iv, ciphertext, tag, aad: aad.toString('base64url') }
    expect(Buffer.from((await flattenedDecrypt(ours, key)).plaintext).toString()).toBe('naïve')

    const theirs = await new FlattenedEncrypt(Buffer.from('naïve'))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: ring.kids[0] })
      .setAdditionalAuthenticatedData(aad)
      .encrypt(key)
    const sealed = [theirs.protected, theirs.iv, theirs.ciphertext, theirs.tag].join('.')
    expect(await ring.open('flow', ['a'], sealed)).toBe('naïve')
  })

  test('another spelling of the same bytes is not what was sealed', async () => {
    const parts = (await ring.seal('flow', ['a'], 'text')).split('.')
    const tag = parts[3] as string
    // Of a tag's last character only two bits count.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const respelled = tag.slice(0, -1) + alphabet[alphabet.indexOf(tag.at(-1) as string) ^ 1]
    expect(Buffer.from(respelled, 'base64url')).toEqual(Buffer.from(tag, 'base64url'))
    expect(await opened(ring, [...parts.slice(0, 3), respelled].join('.'))).toEqual({ reason: 'damaged' })
  })

  test('whatever goes in comes out, for its purpose and place', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.array(fc.string()), async (text, context) => {
        expect(await ring.open('flow', context, await ring.seal('flow', context, text))).toBe(text)
      }),
    )
  })

  test('the same text is never sealed to the same value, and shows nothing of itself', async () => {
    const [a, b] = [await ring.seal('flow', ['a'], 'canary'), await ring.seal('flow', ['a'], 'canary')]
    expect(a).not.toBe(b)
    expect(Buffer.from(a, 'base64url').toString('latin1') + a).not.toContain('canary')
  })

  test('a header is readable without the key and holds the kid, not the key', async () => {
    const sealed = await ring.seal('credentials', ['a'], 'text', { iss: 'https://i.example' })
    expect(readHeader(sealed)).toMatchObject({ iss: 'https://i.example', kid: expect.stringMatching(/^[\w-]{8}$/) })
    expect(JSON.stringify(readHeader(sealed))).not.toContain(one.slice(0, 8))
  })
})

describe('what does not belong is refused', () => {
  test('another place or purpose', async () => {
    const sealed = await ring.seal('flow', ['a'], 'text')
    expect(await opened(ring, sealed)).toEqual({ text: 'text' })
    expect(await opened(ring, sealed, 'flow', ['b'])).toEqual({ reason: 'damaged' })
    expect(await opened(ring, sealed, 'ticket')).toEqual({ reason: 'damaged' })
  })

  test.each([
    [
      ['ab', 'c'],
      ['a', 'bc'],
    ],
    [['a,1:b'], ['a', 'b']],
    [['a,b'], ['a', 'b']],
    [['a'], ['a', '']],
    [[], ['']],
    [['ä'], ['a\u0308']],
  ])('fields are not run together: %j is not %j', async (written, read) => {
    expect(await opened(ring, await ring.seal('flow', written, 'x'), 'flow', read)).toEqual({ reason: 'damaged' })
  })

  test('another key is not known, and says so', async () => {
    expect(await opened(new KeyRing([two]), await ring.seal('flow', ['a'], 'x'))).toEqual({ reason: 'unknown_key' })
  })

  test('one flipped bit anywhere', async () => {
    const sealed = await ring.seal('flow', ['a'], 'some text', { iss: 'i' })
    await fc.assert(
      fc.asyncProperty(fc.nat(3), fc.nat(200), async (part, at) => {
        const result = await opened(ring, flipped(sealed, part, at))
        expect(part === 0 ? result.reason : result).toEqual(part === 0 ? expect.any(String) : { reason: 'damaged' })
      }),
    )
  })

  test('a header that claims something else', async () => {
    const [header, ...rest] = (await ring.seal('flow', ['a'], 'x', { iss: 'ours' })).split('.')
    const claims = JSON.parse(Buffer.from(header as string, 'base64url').toString())
    for (const change of [{ iss: 'theirs' }, { alg: 'none' }, { enc: 'A128CBC-HS256' }, { zip: 'DEF' }]) {
      const forged = Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url')
      expect(await opened(ring, [forged, ...rest].join('.'))).toEqual({ reason: 'damaged' })
    }
  })

  test('junk of any kind', async () => {
    for (const junk of [
      '',
      '.',
      '...',
      'a.b.c.d',
      'a.b.c.d.e',
      'e30.b.c.d',
      'bnVsbA.b.c.d',
      '\0',
      'x'.repeat(10_000),
    ]) {
      expect(await opened(ring, junk)).toEqual({ reason: 'damaged' })
    }
    await fc.assert(
      fc.asyncProperty(fc.string(), async (junk) => {
        expect(await opened(ring, junk)).toHaveProperty('reason')
      }),
    )
  })
})

describe('a stored value says what is wrong with it', () => {
  const header = { iss: 'https://i.example', client_id: 'client' }
  const place = ['https://i.example', 'client', 'user/oauth2/alice']
  const elsewhere = ['https://i.example', 'client', 'user/oauth2/bob']
  const stored = (keys: KeyRing, extra = {}) => keys.seal('credentials', place, 'text', { ...header, ...extra })
  const stranger = new KeyRing([two])
  const [kid] = stranger.kids

  test('sealed with a key that is not there: which one', async () => {
    const sealed = stored(stranger)
    expect(() => ring.open('credentials', place, sealed)).toThrow(
      expect.objectContaining({ reason: 'unknown_key', kid }),
    )
  })

  test('copied onto another place, also when its key is not there', async () => {
    expect(await opened(ring, await stored(ring), 'credentials', elsewhere)).toEqual({ reason: 'misplaced' })
    expect(await opened(ring, await stored(stranger), 'credentials', elsewhere)).toEqual({ reason: 'misplaced' })
    expect(await opened(ring, await stored(ring), 'credentials', place)).toEqual({ text: 'text' })
  })

  test('the digest of the place runs no fields together', async () => {
    const sealed = await ring.seal('credentials', ['ab', 'c'], 'x')
    for (const other of [['a', 'bc'], ['abc'], ['ab', 'c', '']]) {
      expect(await opened(ring, sealed, 'credentials', other)).toEqual({ reason: 'misplaced' })
    }
  })

  test('one flipped bit anywhere is damage: not another key, not another place, not another client', async () => {
    for (const keys of [ring, stranger]) {
      const sealed = await stored(keys)
      await fc.assert(
        fc.asyncProperty(fc.nat(keys === ring ? 3 : 0), fc.nat(400), fc.nat(7), async (part, at, bit) => {
          const altered = flipped(sealed, part, at, bit)
          expect(await opened(ring, altered, 'credentials', place)).toEqual({ reason: 'damaged' })
          // Nobody is told of a client that never was.
          if (part === 0) expect(readHeader(altered)?.iss).toBeOneOf([undefined, header.iss])
        }),
        { numRuns: 500 },
      )
    }
  })

  test('cut off anywhere', async () => {
    const sealed = await stored(ring)
    for (let length = 0; length < sealed.length; length++) {
      expect(await opened(ring, sealed.slice(0, length), 'credentials', place)).toEqual({ reason: 'damaged' })
    }
  })

  test('a header whose checksum was made to fit is still no proof', async () => {
    const [text, ...rest] = (await stored(ring)).split('.')
    const { sum: _, ...claims } = JSON.parse(Buffer.from(text as string, 'base64url').toString())
    const forged = { ...claims, note: 'mine' }
    const sum = createHash('sha256').update(JSON.stringify(forged)).digest('base64url').slice(0, 8)
    const header = Buffer.from(JSON.stringify({ ...forged, sum })).toString('base64url')
    expect(readHeader(`${header}.`)).toMatchObject({ note: 'mine' })
    expect(await opened(ring, [header, ...rest].join('.'), 'credentials', place)).toEqual({ reason: 'damaged' })
  })

  test('sealed by a later version in a way of its own', async () => {
    const sealed = await stored(ring, { v: 2 })
    for (const text of [sealed, `${sealed}.more`, sealed.slice(0, -30)]) {
      expect(await opened(ring, text, 'credentials', place)).toEqual({ reason: 'newer_version' })
    }
  })

  test('what was sealed before places were written down is opened', async () => {
    // Sealed by the version before; `one` is the key.
    const old =
      'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiZjhPckVhbEMiLCJpc3MiOiJodHRwczovL2kuZXhhbXBsZSIsImNsaWVudF9pZCI6ImNsaWVudCJ9.LCwd9ZljRDA7-rMb.SuC_Zw.M-GE37EI7yQQz1JBmEizMA'
    expect(readHeader(old)).not.toHaveProperty('place')
    expect(await opened(ring, old, 'credentials', place)).toEqual({ text: 'text' })
    expect(await opened(ring, old, 'credentials', elsewhere)).toEqual({ reason: 'damaged' })
    expect(await opened(stranger, old, 'credentials', place)).toEqual({ reason: 'unknown_key' })
  })

  test('a key id that is none of ours is not repeated', async () => {
    const evil = await stored(ring, { kid: '<script>alert(1)</script>' })
    expect(await opened(ring, evil, 'credentials', place)).toEqual({ reason: 'damaged' })
  })

  test('what browsers carry is not made larger by it', async () => {
    expect(Object.keys(readHeader(await ring.seal('flow', place, 'x')) ?? {})).toEqual(['alg', 'enc', 'kid'])
  })
})

describe('rotation', () => {
  test('a ring tells the ids of its keys, the one that seals first', () => {
    const [first, second] = [new KeyRing([one]).kids, new KeyRing([two]).kids]
    expect(new KeyRing([two, one]).kids).toEqual([...second, ...first])
    for (const kid of [...first, ...second]) expect(kid).toMatch(/^[\w-]{8}$/)
  })

  test('the first key seals, all of them open', async () => {
    const rotated = new KeyRing([two, one])
    expect(await opened(rotated, await ring.seal('flow', ['a'], 'old'))).toEqual({ text: 'old' })
    const renewed = await rotated.seal('flow', ['a'], 'new')
    expect(await opened(new KeyRing([two]), renewed)).toEqual({ text: 'new' })
    expect(await opened(ring, renewed)).toMatchObject({ reason: 'unknown_key' })
  })

  test('the first key signs, all of them verify', () => {
    const material = (keys: KeyRing) => keys.macKeys('xsrf').map((key) => key.export().toString('hex'))
    expect(material(new KeyRing([two, one]))).toEqual([...material(new KeyRing([two])), ...material(ring)])
  })

  test('purposes have keys of their own', () => {
    const keys = (['flow', 'ticket', 'outcome', 'credentials', 'xsrf'] as const).flatMap((p) => ring.macKeys(p))
    expect(new Set(keys.map((key) => key.export().toString('hex'))).size).toBe(5)
  })
})

describe('keys', () => {
  test('bytes and text of the same content are the same key', async () => {
    expect(await opened(new KeyRing([Buffer.from(one)]), await ring.seal('flow', ['a'], 'x'))).toEqual({ text: 'x' })
  })

  test('a view into a larger buffer is only what it shows', async () => {
    const buffer = Buffer.concat([Buffer.alloc(16, 1), Buffer.from(one), Buffer.alloc(16, 2)])
    const view = new Uint8Array(buffer.buffer, buffer.byteOffset + 16, Buffer.byteLength(one))
    expect(await opened(new KeyRing([view]), await ring.seal('flow', ['a'], 'x'))).toEqual({ text: 'x' })
  })

  test('a key that is overwritten after the ring was made changes nothing', async () => {
    const bytes = Buffer.from(one)
    const keys = new KeyRing([bytes])
    bytes.fill(0)
    expect(await opened(keys, await ring.seal('flow', ['a'], 'x'))).toEqual({ text: 'x' })
  })

  test.each([[[]], [['short']], [['x'.repeat(31)]], [[one, 'x'.repeat(31)]], [[new Uint8Array(31)]]])(
    'too few or too short: %j',
    (keys) => {
      expect(() => new KeyRing(keys)).toThrow(
        expect.objectContaining({
          code: 'FST_OAUTH2_OPTION_INVALID',
          message: expect.stringContaining('encryptionKeys'),
        }),
      )
    },
  )

  test('32 characters and 32 bytes are enough', () => {
    expect(() => new KeyRing(['x'.repeat(32), new Uint8Array(32)])).not.toThrow()
  })
})
