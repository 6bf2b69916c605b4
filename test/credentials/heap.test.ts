import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { compileSources, ended } from '../helpers/processes.js'

test('a process that refreshed keeps access tokens in mind, and no refresh token anywhere in its memory', async () => {
  const compiled = await compileSources(['src/credentials/index', 'src/storage/memory'])
  const script = fileURLToPath(new URL('heap-child.mjs', import.meta.url))
  const { code, output } = await ended(compiled.start(script, {}, { env: { NODE_OPTIONS: '--expose-gc' } }))
  await compiled.remove()
  expect([code, output]).toEqual([0, expect.stringMatching(/^\{/)])
  const found = JSON.parse(output)
  expect(found).toMatchObject({ issued: 16, refreshTokens: 0 })
  // What a guard uses is there, so the search can find.
  expect(found.accessTokens).toBeGreaterThanOrEqual(2)
}, 60_000)
