import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const here = fileURLToPath(new URL('..', import.meta.url))
const read = (path) => readFileSync(here + path, 'utf8')
const { name, description, version } = JSON.parse(read('../package.json'))

const linkOf = (page) => `/${page}`.replace(/README\.md$/, page === 'README.md' ? '' : 'README').replace(/\.md$/, '')

const titleOf = (page) =>
  page === 'README.md' ? 'What it is, and how to use it' : (/^# (.+)$/m.exec(read(`../${page}`))?.[1] ?? page)

const guides = JSON.parse(read('navigation.json')).map(({ group, pages }) => ({
  text: group,
  collapsed: false,
  items: pages.map((page) => ({ text: titleOf(page), link: linkOf(page) })),
}))

/** Entry points, and in each what it exports, by kind: names with a slash come inside of each other. */
const MODULE = 2
const entryPoints = (nodes, parent = '') =>
  nodes.flatMap(({ title, kind, path, children = [] }) => {
    const entry = parent + title
    const nested = entryPoints(
      children.filter(({ title }) => /^[a-z]/.test(title)),
      `${entry}/`,
    )
    return kind === MODULE
      ? [{ entry, path, kinds: children.filter(({ title }) => KINDS.has(title)) }, ...nested]
      : nested
  })
const KINDS = new Set(['Functions', 'Classes', 'Interfaces', 'Type Aliases', 'Variables', 'Errors'])

const reference = entryPoints(JSON.parse(read('pages/api/navigation.json'))).map(({ entry, path, kinds }) => ({
  text: entry.replace(`${name}/`, '/'),
  link: `/api/${path.replace(/index\.md$/, '')}`,
  collapsed: entry !== name,
  items: kinds.map(({ title, children }) => ({
    text: title,
    collapsed: title === 'Errors',
    items: children.map((page) => ({ text: page.title, link: `/api/${page.path.replace(/\.md$/, '')}` })),
  })),
}))

export default defineConfig({
  title: name,
  description,
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: '.cache',
  lang: 'en',
  lastUpdated: false,
  ignoreDeadLinks: 'localhostLinks',
  metaChunk: true,
  markdown: { theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' } },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/', activeMatch: '^/(?!api/)' },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
      { text: version, link: '/CHANGELOG' },
    ],
    sidebar: {
      '/': [...guides, { text: 'API', items: [{ text: 'API reference', link: '/api/' }] }],
      '/api/': [{ text: 'Entry points', items: reference }],
    },
    outline: [2, 3],
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          // Names are found by the words in them too: "store" finds sqlStore.
          options: {
            tokenize: (text) => [
              ...text.split(/[\n\r\p{Z}\p{P}]+/u),
              ...text.split(/[\n\r\p{Z}\p{P}]+|(?<=[a-z\d])(?=[A-Z])/u),
            ],
          },
        },
      },
    },
    docFooter: { prev: false, next: false },
  },
})
