/**
 * (c) 200 requests at once of a person whose access token has expired, where the provider rotates refresh tokens and
 * ends the grant of one that comes twice.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { CORES, start } from '../lib/child.mjs'
import { freshName, removeAll } from '../lib/credential-stores.mjs'
import { median, spread } from '../lib/statistics.mjs'
import { atMost } from '../lib/targets.mjs'

/** Seconds: a token that is soon over, and one that outlasts the storm also for those who renew five seconds early. */
const SHORT = 1
const LONG = 12
/** Milliseconds that the provider takes for a token. */
const DELAY = 50

const contender = (name, options) => ({ script: new URL(`../contenders/${name}.mjs`, import.meta.url), options })
const ours = (options, processes = 1) => ({
  ...contender('ours', { ...options, client: { refreshBeforeExpiry: 0 } }),
  processes,
  own: true,
})

export const ROWS = {
  'ours-session': { title: "ours, `storage: 'session'`", ...ours({ sessions: 'session' }) },
  'ours-memory': { title: 'ours, memory', ...ours({ sessions: 'session', store: 'memory' }) },
  'ours-sqlite': { title: 'ours, SQLite', ...ours({ sessions: 'session', store: 'sqlite' }) },
  'ours-postgres': { title: 'ours, PostgreSQL', ...ours({ sessions: 'session', store: 'postgres' }) },
  'ours-redis': { title: 'ours, Redis', ...ours({ sessions: 'session', store: 'redis' }) },
  // Sessions that all of them can read.
  'ours-postgres-4': { title: 'ours, PostgreSQL', ...ours({ sessions: 'secure', store: 'postgres' }, 4) },
  'ours-redis-4': { title: 'ours, Redis', ...ours({ sessions: 'secure', store: 'redis' }, 4) },
  oauth2: { title: '`@fastify/oauth2`, refresh by hand', ...contender('oauth2', { sessions: 'session' }) },
  'oauth2-still': {
    title: '`@fastify/oauth2`, refresh by hand, `rolling: false`',
    ...contender('oauth2', { sessions: 'still' }),
  },
  passport: {
    title: '`@fastify/passport`, `passport-oauth2-refresh`',
    ...contender('passport', { sessions: 'session' }),
  },
  'express-openid-connect': {
    title: '`express-openid-connect`, Express 5',
    ...contender('express-openid-connect', {}),
  },
  'better-auth': { title: '`better-auth`, SQLite', ...contender('better-auth', { database: 'sqlite' }) },
}

/**
 * @param only names of rows
 * @param rounds of which each row has one storm, after one that does not count
 * @param requests of each storm
 */
export async function storm({ only = Object.keys(ROWS), rounds = 5, requests = 200 } = {}) {
  const others = { core: CORES.others }
  const provider = await start(new URL('../lib/provider.mjs', import.meta.url), { rotate: true }, others)
  const load = await start(new URL('../lib/storm-load.mjs', import.meta.url), {}, others)
  const rows = []
  try {
    for (const name of Object.keys(ROWS).filter((name) => only.includes(name))) {
      const row = { name, processes: 1, ...ROWS[name], servers: [], runs: [], shared: freshName() }
      rows.push(row)
      const options = { provider: provider.url, ...row.options, ...(row.processes > 1 ? { name: row.shared } : {}) }
      // One after the other: the first of them makes the tables.
      for (let left = row.processes; left > 0; left--)
        row.servers.push(await start(row.script, options, { core: CORES.server }))
    }
    for (let round = 0; round <= rounds; round++) {
      const runs = await oneRound({ rows, provider, load, requests })
      if (round > 0) for (const [index, row] of rows.entries()) row.runs.push(runs[index])
      process.stderr.write(`storm: round ${round} of ${rounds}\n`)
    }
  } finally {
    for (const { servers, shared } of rows) {
      for (const server of servers) {
        await server.ask('end').catch(() => {})
        await server.stop()
      }
      if (servers.length > 1) await removeAll(shared)
    }
    await load.stop()
    await provider.stop()
  }
  return rows.map(figures)
}

/** Everybody waits for the same moments, so that a round takes as long as one row would. */
async function oneRound({ rows, provider, load, requests }) {
  await provider.ask('set', { lifetime: SHORT, delay: 0 })
  for (const { name, servers } of rows)
    await load.ask('signIn', { person: name, url: servers[0].url + servers[0].login })
  await wait(SHORT * 1_000 + 100)
  await provider.ask('set', { lifetime: LONG, delay: DELAY })
  const runs = []
  for (const row of rows) runs.push(await oneStorm({ row, provider, load, requests }))
  await wait(LONG * 1_000 + 100)
  for (const [index, { name, servers }] of rows.entries())
    runs[index].later = await load.ask('goesOn', { person: name, url: `${servers.at(-1).url}/token` })
  return runs
}

async function oneStorm({ row: { name, servers, own }, provider, load, requests }) {
  const urls = servers.map(({ url }) => `${url}/token`)
  const tokenRequest = await load.ask('tokenRequest', `${provider.url}/token`)
  const trip = own ? await servers[0].ask('trip') : 0
  await provider.ask('reset')
  const run = await load.ask('storm', { person: name, urls, requests })
  const { refresh, refused } = await provider.ask('counts')
  const next = await load.ask('goesOn', { person: name, url: urls[0] })
  return { ...run, refresh, refused, next, trip, ratio: run.took / (tokenRequest + trip) }
}

function figures({ name, title, processes, own, runs }) {
  const all = (member) => runs.map((run) => run[member])
  const middle = (member) => median(all(member))
  const worst = (member) => Math.max(...all(member))
  const times = (member) => `${all(member).filter(Boolean).length} of ${runs.length}`
  return {
    name,
    title,
    processes,
    own: own === true,
    refresh: worst('refresh'),
    refused: worst('refused'),
    failed: worst('failed'),
    tokens: middle('tokens'),
    took: middle('took'),
    trip: middle('trip'),
    ratio: all('ratio'),
    next: times('next'),
    later: times('later'),
  }
}

/** The table in Markdown. */
export function stormTable(results) {
  const head = [
    'server',
    'processes',
    'token requests',
    'refused',
    'requests failed',
    'different tokens',
    'last answer ms',
    'store trip ms',
    'last answer to one token request and one store trip',
    'goes on at once',
    'goes on after the next expiry',
  ]
  const lines = results.map((row) => [
    row.title,
    row.processes,
    row.refresh,
    row.refused,
    row.failed,
    row.tokens,
    row.took.toFixed(0),
    row.trip.toFixed(2),
    spread(row.ratio),
    row.next,
    row.later,
  ])
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** What our users are promised, in each of the rounds; the time as the median of them. */
export function targets(results) {
  return results
    .filter(({ own }) => own)
    .map((row) => ({ ...row, title: `${row.title}, processes: ${row.processes}` }))
    .flatMap(({ title, refresh, refused, failed, ratio }) => [
      atMost(`${title}: token requests`, refresh, 1),
      atMost(`${title}: refused or failed`, refused + failed, 0),
      atMost(`${title}: last answer, over a token request and a store trip`, median(ratio), 1.3),
    ])
}
