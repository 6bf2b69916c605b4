/** Memory of people who are signed in: every one of them really signed in, by as few requests as that takes. */
import { Browser } from '../../lib/browser.mjs'
import { CORES, start } from '../../lib/child.mjs'
import { markdown } from '../../lib/markdown.mjs'
import { inParallel } from '../../lib/parallel.mjs'

const contender = (name) => new URL(`../../contenders/${name}.mjs`, import.meta.url)

/** The way to the provider and back are two redirects; a third one would only show the page again. */
const ROWS = [
  { title: '`@fastify/session` alone', script: contender('session'), options: { sessions: 'session' }, redirects: 0 },
  {
    title: 'ours, memory',
    script: contender('ours'),
    options: { sessions: 'session', store: 'memory' },
    redirects: 2,
  },
  {
    title: 'ours, PostgreSQL',
    script: contender('ours'),
    options: { sessions: 'session', store: 'postgres' },
    redirects: 2,
  },
]

/** Before anybody is counted: what is made once. */
const FIRST = 100

/** @param people how many sign in */
export async function memory({ provider, people }) {
  const results = []
  for (const { title, script, options, redirects } of ROWS) {
    const server = await start(
      script,
      { provider: provider.url, ...options },
      { core: CORES.server, execArgv: ['--expose-gc'] },
    )
    try {
      const signIn = () => signInOnce(server, redirects)
      await inParallel(FIRST, signIn)
      const before = await server.ask('collect')
      await inParallel(people, signIn)
      const after = await server.ask('collect')
      const each = (member) => (after[member] - before[member]) / people
      results.push({
        title,
        users: people,
        rss: after.rss,
        heap: after.heapUsed,
        rssEach: each('rss'),
        heapEach: each('heapUsed'),
      })
      process.stderr.write(`memory: ${people} users of ${title}\n`)
    } finally {
      await server.ask('end')
      await server.stop()
    }
  }
  return results
}

async function signInOnce({ url, login }, redirects) {
  const browser = new Browser()
  const { status, headers } = await browser.go(url + login, { redirects })
  const signedIn = redirects === 0 ? status === 200 : status === 303 && headers.location.endsWith(login)
  if (!signedIn || !browser.cookie.includes('sessionId')) throw new Error(`Nobody is signed in: ${status}`)
}

const mega = (bytes) => (bytes / 2 ** 20).toFixed(0)

export const memoryTable = (results) =>
  markdown(
    ['server', 'signed in', 'RSS MB', 'heap MB', 'RSS bytes a user', 'heap bytes a user', 'heap over the first'],
    results.map(({ title, users, rss, heap, rssEach, heapEach }) => [
      title,
      users.toLocaleString('en'),
      mega(rss),
      mega(heap),
      rssEach.toFixed(0),
      heapEach.toFixed(0),
      (heapEach / results[0].heapEach).toFixed(2),
    ]),
  )
