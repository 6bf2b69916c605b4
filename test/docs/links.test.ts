/** Links between our pages lead somewhere: to a file that is there, and to a heading that it has. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = ['.', 'docs', 'bench', 'example-app', 'test/mutation', 'test/conformance'].flatMap((folder) =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder)).flatMap((name) => (name.endsWith('.md') ? [join(root, folder, name)] : []))
    : [],
)

/** Without code, where brackets and parentheses mean something else. */
const textOf = (page: string) =>
  readFileSync(page, 'utf8')
    .replace(/^```.*?^```/gms, '')
    .replace(/`[^`\n]*`/g, 'code')

/** As GitHub makes anchors of headings. */
function anchorsOf(page: string): Set<string> {
  const headings = [...readFileSync(page, 'utf8').matchAll(/^#+ +(.+)$/gm)].map(([, title = '']) =>
    title
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
  return new Set(headings)
}

test.each(pages.map((page) => relative(root, page)))('%s', (name) => {
  const page = join(root, name)
  const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  for (const link of links.filter((target) => !/^[a-z]+:/.test(target))) {
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? page : resolve(dirname(page), path)
    expect(existsSync(target), `${name} links to ${link}`).toBe(true)
    if (anchor !== undefined) expect([...anchorsOf(target)], `${name} links to ${link}`).toContain(anchor)
  }
})

test('every page of docs/ is linked from the README', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  for (const name of readdirSync(join(root, 'docs')))
    if (name.endsWith('.md')) expect(readme).toContain(`(docs/${name})`)
})

test('there are pages', () => {
  expect(pages.length).toBeGreaterThan(20)
})
