/** The site shows every page of docs/, once, under the group that somebody looks for it in. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const groups = JSON.parse(readFileSync(join(root, 'website/navigation.json'), 'utf8')) as { pages: string[] }[]
const listed = groups.flatMap(({ pages }) => pages)

test('no page of docs/ is missing from website/navigation.json', () => {
  const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
  expect(pages.map((name) => `docs/${name}`).filter((page) => !listed.includes(page))).toEqual([])
})

test('what website/navigation.json lists is there, and there once', () => {
  expect(listed.filter((page) => !existsSync(join(root, page)))).toEqual([])
  expect(listed).toEqual([...new Set(listed)])
})
