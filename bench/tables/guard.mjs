/** (a) What a guarded GET costs: requests a second and p99, by turns, each as a ratio to its floor in the same round. */
import { Browser } from '../lib/browser.mjs'
import { CORES, start } from '../lib/child.mjs'
import { load } from '../lib/load.mjs'
import { markdown } from '../lib/markdown.mjs'
import { mean, median, spread } from '../lib/statistics.mjs'
import { atLeast, atMost } from '../lib/targets.mjs'
import { byPairs } from '../lib/turns.mjs'

/** Seconds until the code of a server is compiled as well as it will be. */
const WARM_UP = 5
const contender = (name) => new URL(`../contenders/${name}.mjs`, import.meta.url)
const ours = (options) => ({
  script: contender('ours'),
  options,
  floor: options.sessions,
  own: true,
  checks: 'expiry, scopes',
})
const peer = (name, options = {}, checks = 'neither') => ({
  script: contender(name),
  options,
  floor: options.sessions ?? 'session',
  checks,
})

/** `floor` is what a row is compared with, `checks` what the guard asks of credentials besides that there are any. */
export const ROWS = {
  fastify: { title: 'Fastify alone', script: contender('fastify'), floor: 'session' },
  session: {
    title: '`@fastify/session`, one value read',
    script: contender('session'),
    options: { sessions: 'session' },
  },
  still: {
    title: '`@fastify/session`, `rolling: false`, one value read',
    script: contender('session'),
    options: { sessions: 'still' },
  },
  secure: {
    title: '`@fastify/secure-session`, one value read',
    script: contender('session'),
    options: { sessions: 'secure' },
  },
  'hand-postgres': {
    title: 'PostgreSQL read by hand',
    script: contender('read-by-hand'),
    options: { store: 'postgres' },
    floor: 'session',
  },
  'hand-redis': {
    title: 'Redis read by hand',
    script: contender('read-by-hand'),
    options: { store: 'redis' },
    floor: 'session',
  },
  'ours-session': { title: "ours, `storage: 'session'`", ...ours({ sessions: 'session' }) },
  'ours-memory': { title: 'ours, memory', ...ours({ sessions: 'session', store: 'memory' }) },
  'ours-still-memory': { title: 'ours, memory, `rolling: false`', ...ours({ sessions: 'still', store: 'memory' }) },
  'ours-sqlite': { title: 'ours, SQLite, cached', ...ours({ sessions: 'session', store: 'sqlite' }) },
  'ours-sqlite-uncached': {
    title: 'ours, SQLite, uncached',
    ...ours({ sessions: 'session', store: 'sqlite', cached: false }),
  },
  'ours-postgres': { title: 'ours, PostgreSQL, cached', ...ours({ sessions: 'session', store: 'postgres' }) },
  'ours-postgres-uncached': {
    title: 'ours, PostgreSQL, uncached',
    ...ours({ sessions: 'session', store: 'postgres', cached: false }),
    floor: 'hand-postgres',
  },
  'ours-redis': { title: 'ours, Redis, cached', ...ours({ sessions: 'session', store: 'redis' }) },
  'ours-redis-uncached': {
    title: 'ours, Redis, uncached',
    ...ours({ sessions: 'session', store: 'redis', cached: false }),
    floor: 'hand-redis',
  },
  'ours-secure-session': { title: "ours over secure-session, `storage: 'session'`", ...ours({ sessions: 'secure' }) },
  'ours-secure-memory': { title: 'ours over secure-session, memory', ...ours({ sessions: 'secure', store: 'memory' }) },
  'ours-secure-postgres': {
    title: 'ours over secure-session, PostgreSQL, cached',
    ...ours({ sessions: 'secure', store: 'postgres' }),
  },
  oauth2: { title: '`@fastify/oauth2`, guard by hand', ...peer('oauth2', { sessions: 'session' }) },
  'oauth2-fresh': {
    title: '`@fastify/oauth2`, guard by hand that refreshes',
    ...peer('oauth2', { sessions: 'session', fresh: true }, 'expiry'),
  },
  'passport-session': { title: '`@fastify/passport`', ...peer('passport', { sessions: 'session' }) },
  'passport-secure': { title: '`@fastify/passport` over secure-session', ...peer('passport', { sessions: 'secure' }) },
  'express-openid-connect': {
    title: '`express-openid-connect`, Express 5, sealed cookie',
    ...peer('express-openid-connect'),
  },
  'express-openid-connect-stored': {
    title: '`express-openid-connect`, Express 5, memory',
    ...peer('express-openid-connect', { stored: true }),
  },
  'better-auth-memory': { title: '`better-auth`, memory', ...peer('better-auth', { database: 'memory' }) },
  'better-auth-sqlite': { title: '`better-auth`, SQLite', ...peer('better-auth', { database: 'sqlite' }) },
}

/**
 * @param only names of rows; their floors come along
 * @param rounds of which each row has one run, after one that does not count
 * @param seconds of each run
 */
export async function guard({ only = Object.keys(ROWS), rounds = 9, seconds = 1, connections = 32 } = {}) {
  const names = Object.keys(ROWS).filter(
    (name) => only.includes(name) || only.some((other) => ROWS[other].floor === name),
  )
  const provider = await start(new URL('../lib/provider.mjs', import.meta.url), {}, { core: CORES.others })
  const rows = []
  try {
    for (const name of names) {
      const row = ROWS[name]
      const server = await start(row.script, { provider: provider.url, ...row.options }, { core: CORES.server })
      const browser = new Browser()
      await browser.go(server.url + server.login)
      const headers = { cookie: browser.cookie, accept: 'application/json' }
      const answer = await browser.go(server.url + server.guarded, {
        headers: { accept: 'application/json' },
        redirects: 0,
      })
      if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.body}`)
      rows.push({ name, ...row, server, headers })
    }
    const floorOf = ({ floor }) => rows.find(({ name }) => name === floor)
    await byPairs('guard', rows, rounds, floorOf, ({ server, headers }, warmingUp) =>
      load([server], server.guarded, { connections, seconds: warmingUp ? WARM_UP : seconds, headers }),
    )
  } finally {
    for (const { server } of rows) {
      await server.ask('end')
      await server.stop()
    }
    await provider.stop()
  }
  return rows.map((row) => figures(row, rows))
}

/** Ratios are of two runs, one right after the other. */
function figures(row, rows) {
  const floor = rows.find(({ name }) => name === row.floor)
  const against = (member) => row.runs.map((run, index) => run[member] / row.floorRuns[index][member])
  return {
    name: row.name,
    title: row.title,
    own: row.own === true,
    checks: row.checks ?? '',
    floor: floor?.name,
    perSecond: median(row.runs.map((run) => run.perSecond)),
    p50: median(row.runs.map((run) => run.p50)),
    p99: median(row.runs.map((run) => run.p99)),
    cpu: mean(row.runs.map((run) => run.cpu)),
    ...(floor ? { ratio: against('perSecond'), p99Ratio: against('p99'), cpuRatio: against('cpu') } : {}),
  }
}

/** The table in Markdown. */
export function guardTable(results) {
  const head = [
    'server',
    'guard checks',
    'requests/s',
    'p50 ms',
    'p99 ms',
    'CPU µs a request',
    'compared with',
    'requests/s',
    'p99',
    'CPU',
  ]
  const lines = results.map((row) => [
    row.title,
    row.checks,
    row.perSecond.toFixed(0),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.cpu.toFixed(1),
    row.floor ? results.find(({ name }) => name === row.floor).title : '',
    ...(row.floor ? [spread(row.ratio), spread(row.p99Ratio), spread(row.cpuRatio)] : ['', '', '']),
  ])
  return markdown(head, lines)
}

/** What our guard may cost. */
export function targets(results) {
  const ours = results.filter(({ own }) => own)
  const cached = ours.filter(({ name }) => !name.endsWith('-uncached'))
  const asked = ours.filter(({ floor }) => floor?.startsWith('hand-'))
  const peers = results.filter(({ name, own }) => !own && name.includes('oauth2'))
  return [
    ...cached.flatMap(({ title, ratio, p99Ratio }) => [
      atLeast(`${title}: requests/s of the session's`, median(ratio), 0.95),
      atMost(`${title}: p99 of the session's`, median(p99Ratio), 1.15),
    ]),
    ...asked.map(({ title, ratio }) => atLeast(`${title}: requests/s of a read by hand`, median(ratio), 0.95)),
    ...peers.flatMap((peer) =>
      cached
        .filter(({ floor }) => floor === peer.floor)
        .map(({ title, ratio }) => {
          // Both are compared with the same floor, each with what it did right beside them.
          return atLeast(`${title}: requests/s of ${peer.title}`, median(ratio) / median(peer.ratio), 1)
        }),
    ),
  ]
}
