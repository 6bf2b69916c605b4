// The guides for people who come from Python are only as good as their names: each of theirs is in one, and each of ours exists.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { namesOf } from './our-names.js'
import { rowsOf } from './tables.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const guides = ['migrating-from-oauth2client.md', 'migrating-from-google-auth-oauthlib.md'].map((name) =>
  readFileSync(join(root, 'docs', name), 'utf8'),
)
const rows = guides.flatMap(rowsOf)
const theirs: Record<string, string[]> = JSON.parse(readFileSync(join(root, 'test/fixtures/python/names.json'), 'utf8'))

const PLACES = new Map([
  ['request.oauth2', 'RequestOAuth2'],
  ['fastify.oauth2', 'OAuth2Client'],
  ['option', 'OAuth2ClientOptions'],
])

describe('names of Python', () => {
  const all = new Set(Object.entries(theirs).flatMap(([module, names]) => names.map((name) => `${module}.${name}`)))
  const said = new Set(rows.flatMap(({ theirs }) => theirs))

  test.each(Object.entries(theirs).filter(([, names]) => names.length > 0))(
    'each of %s has its row',
    (module, names) => {
      // The guide says once that the client module hands these on.
      const again = new Set(['MemoryCache', 'clean_headers', 'REFRESH_STATUS_CODES'])
      const missing = names
        .filter((name) => module !== 'oauth2client.client' || !again.has(name))
        .filter((name) => !said.has(`${module}.${name}`))
      expect(missing).toEqual([])
    },
  )

  test('no row is about a name that is not there', () => {
    expect([...said].filter((name) => !all.has(name))).toEqual([])
  })

  test('no name has two rows', () => {
    const seen = rows.flatMap(({ theirs }) => theirs)
    expect(seen.filter((name, index) => seen.indexOf(name) !== index)).toEqual([])
  })
})

describe('our names', () => {
  test.each(rows.map((row) => [row.theirs[0] as string, row] as const))('beside %s', async (_name, row) => {
    expect(row.text).not.toBe('')
    if (row.places.every((place) => place === '—' || place === 'gone')) return
    expect(row.ours.length, 'a place, and no name in it').toBeGreaterThan(0)
    const there = new Set<string>()
    for (const place of row.places) {
      for (const name of await namesOf(root, PLACES.get(place) ?? place)) there.add(name)
    }
    expect(
      row.ours.filter((name) => !there.has(name)),
      `not in ${row.places.join(', ')}`,
    ).toEqual([])
  })
})

test('code of ours is compiled with the other docs, under a name of its own', () => {
  const fences = guides.flatMap((guide) =>
    [...guide.matchAll(/^```(\w+)\n(.*)$/gm)].map(([, language, first]) => [language, first] as const),
  )
  expect(new Set(fences.map(([language]) => language))).toEqual(new Set(['python', 'ts']))
  const ours = fences.filter(([language]) => language === 'ts').map(([, first]) => first)
  for (const first of ours) expect(first).toMatch(/^\/\/ (from|import)-[\w-]+\.ts$/)
  expect(new Set(ours).size).toBe(ours.length)
})
