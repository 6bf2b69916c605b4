import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const here = fileURLToPath(new URL('..', import.meta.url))
const read = (path) => readFileSync(here + path, 'utf8')
const { name, description, version } = JSON.parse(read('../package.json'))

const linkOf = (page) => `/${page}`.replace(/README\.md$/, page === 'README.md' ? '' : 'README').replace(/\.md$/, '')

const titleOf = (page) =>
  page === 'README.md' ? 'What it is, and how to use it' : (/^# ([^:\n]+)/m.exec(read(`../${page}`))?.[1] ?? page)

const guides = JSON.parse(read('navigation.json')).map(({ group, pages }) => ({
  text: group,
  collapsed: false,
  items: pages.map((page) => ({ text: titleOf(page), link: linkOf(page) })),
}))

const KINDS = new Set(['Functions', 'Classes', 'Interfaces', 'Type Aliases', 'Variables', 'Errors'])
const MODULE = 2

/** Entry points, and what each exports, by kind. Those with a slash in their name come inside of each other. */
const entryPointsIn = (nodes, parent = '') =>
  nodes.flatMap(({ title, kind, path, children = [] }) => {
    const entry = parent + title
    const own = children.filter((child) => KINDS.has(child.title))
    const nested = entryPointsIn(
      children.filter((child) => !KINDS.has(child.title) && child.title !== 'References'),
      `${entry}/`,
    )
    return kind === MODULE ? [{ entry, link: `/api/${path.replace(/index\.md$/, '')}`, own }, ...nested] : nested
  })
const entryPoints = entryPointsIn(JSON.parse(read('pages/api/navigation.json')))

/** All entry points, with the names of one: all names of all would make every page large. */
const referenceOf = (current) => [
  {
    text: 'Entry points',
    items: entryPoints.map(({ entry, link, own }) => ({
      text: entry.replace(`${name}/`, '/'),
      link,
      ...(link === current && {
        items: own.map(({ title, children }) => ({
          text: title,
          collapsed: title === 'Errors',
          items: children.map((page) => ({ text: page.title, link: `/api/${page.path.replace(/\.md$/, '')}` })),
        })),
      }),
    })),
  },
]

export default defineConfig({
  title: name,
  description,
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: '.cache',
  lang: 'en',
  lastUpdated: false,
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  ignoreDeadLinks: 'localhostLinks',
  metaChunk: true,
  // The index of the search is one file, which is loaded with the first search.
  vite: { build: { chunkSizeWarningLimit: 5_000 } },
  markdown: { theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' } },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/', activeMatch: '^/(?!api/)' },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
      { text: version, link: '/CHANGELOG' },
    ],
    sidebar: {
      '/': [...guides, { text: 'API', items: [{ text: 'API reference', link: '/api/' }] }],
      '/api/': referenceOf(undefined),
      ...Object.fromEntries(entryPoints.map(({ link }) => [link, referenceOf(link)])),
    },
    outline: [2, 3],
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          // Names are found by the words in them too: "store" finds sqlStore. The browser gets these as text.
          options: {
            tokenize: (text) =>
              text.split(/[\n\r\p{Z}\p{P}]+/u).flatMap((word) => [word, ...word.split(/(?<=[a-z\d])(?=[A-Z])/)]),
          },
          searchOptions: {
            tokenize: (text) => text.split(/[\n\r\p{Z}\p{P}]+/u),
            fuzzy: 0.1,
            // Who looks for a name wants what has it, and not what mentions it.
            boostDocument: (id) => (/\/(functions|classes)\//.test(id) ? 1.5 : 1),
            combineWith: 'AND',
          },
        },
      },
    },
    docFooter: { prev: false, next: false },
  },
})
