import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KeyRing, readHeader, UnsealError } from '../../src/keys/key-ring.js'

const one = 'the first key, long enough to be one of the ring'
const two = 'the second key, long enough to be one of the ring'
const ring = new KeyRing([one])

/** The reason that opening gives, or the text. */
async function opened(keys: KeyRing, sealed: string, purpose: 'flow' | 'ticket' = 'flow', context = ['a']) {
  try {
    return { text: await keys.open(purpose, context, sealed) }
  } catch (error) {
    expect(error).toBeInstanceOf(UnsealError)
    return { reason: (error as UnsealError).reason }
  }
}

/** The same value with one bit of one part changed, as a whole byte so that it always means something else. */
function flipped(sealed: string, part: number, at: number): string {
  const parts = sealed.split('.')
  const bytes = Buffer.from(parts[part] as string, 'base64url')
  bytes[at % bytes.length]! ^= 1
  parts[part] = bytes.toString('base64url')
  return parts.join('.')
}

describe('sealing', () => {
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
    expect(await opened(new KeyRing([two]), await ring.seal('flow', ['a'], 'x'))).toEqual({ reason: 'unknown key' })
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

describe('rotation', () => {
  test('the first key seals, all of them open', async () => {
    const rotated = new KeyRing([two, one])
    expect(await opened(rotated, await ring.seal('flow', ['a'], 'old'))).toEqual({ text: 'old' })
    const renewed = await rotated.seal('flow', ['a'], 'new')
    expect(await opened(new KeyRing([two]), renewed)).toEqual({ text: 'new' })
    expect(await opened(ring, renewed)).toEqual({ reason: 'unknown key' })
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
