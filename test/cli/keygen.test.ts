import { expect, test } from 'vitest'
import { KeyRing, readHeader } from '../../src/keys/key-ring.js'
import { run } from './run.js'

test('keygen prints one key and nothing else', async () => {
  const { code, stdout, stderr } = await run(['keygen'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^[\w-]{43}\n$/)
  expect(Buffer.from(stdout.trim(), 'base64url')).toHaveLength(32)
  expect((await run(['keygen'])).stdout).not.toBe(stdout)
})

test('a key ring takes the key, and names it in what it seals as --json does', async () => {
  const { stdout, stderr } = await run(['keygen', '--json'])
  expect(stderr).toBe('')
  const { key, kid, ...rest } = JSON.parse(stdout)
  expect(rest).toEqual({})
  const sealed = await new KeyRing([key]).seal('credentials', ['user/alice'], 'plain')
  expect(readHeader(sealed)?.kid).toBe(kid)
})

test('people get told how to rotate, beside the key and without it', async () => {
  const { stdout, stderr } = await run(['keygen'], { isTTY: true })
  expect(stdout).toMatch(/^[\w-]{43}\n$/)
  expect(stderr).not.toContain(stdout.trim())
  expect(stderr).toMatch(/append.*deploy.*front.*deploy.*sweep.*remove/s)
})
