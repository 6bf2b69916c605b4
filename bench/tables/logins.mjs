/** (b) What a sign-in costs: from the page that begins it to the page that it ends on, by turns, 16 people at once. */
import { CORES, start } from '../lib/child.mjs'
import { mean, median, spread } from '../lib/statistics.mjs'
import { atLeast } from '../lib/targets.mjs'
import { byPairs } from '../lib/turns.mjs'

const contender = (name, options) => ({ script: new URL(`../contenders/${name}.mjs`, import.meta.url), options })
const FLOOR = 'oauth2'
/** Seconds. A sign-in is long, and runs through most of a library: until all that is compiled takes thousands of them. */
const WARM_UP = 5

/** How far the answers are looked at. Without the signature nobody has to ask for keys, or to verify. */
const CODE = 'state, PKCE'
const CLAIMS = `${CODE}, nonce, claims`
const SIGNATURE = `${CLAIMS}, signature`

/** `checks` is which of that. */
export const ROWS = {
  'ours-session': {
    title: "ours, `storage: 'session'`",
    checks: SIGNATURE,
    ...contender('ours', { sessions: 'session' }),
  },
  'ours-memory': {
    title: 'ours, memory',
    checks: SIGNATURE,
    ...contender('ours', { sessions: 'session', store: 'memory' }),
  },
  'ours-secure-session': {
    title: "ours over secure-session, `storage: 'session'`",
    checks: SIGNATURE,
    ...contender('ours', { sessions: 'secure' }),
  },
  'ours-postgres': {
    title: 'ours, PostgreSQL',
    checks: SIGNATURE,
    ...contender('ours', { sessions: 'session', store: 'postgres' }),
  },
  [FLOOR]: {
    title: '`@fastify/oauth2`',
    checks: CODE,
    ...contender('oauth2', { sessions: 'session' }),
  },
  passport: {
    title: '`@fastify/passport`, `passport-oauth2`',
    checks: CODE,
    ...contender('passport', { sessions: 'session' }),
  },
  'passport-secure': {
    title: '`@fastify/passport`, `passport-oauth2` over secure-session',
    checks: CODE,
    ...contender('passport', { sessions: 'secure' }),
  },
  'express-openid-connect': {
    title: '`express-openid-connect`, Express 5',
    checks: CLAIMS,
    ...contender('express-openid-connect', {}),
  },
  'better-auth': {
    title: '`better-auth`, SQLite',
    checks: SIGNATURE,
    ...contender('better-auth', { database: 'sqlite' }),
  },
}

/**
 * @param only names of rows; what they are compared with comes along
 * @param rounds of which each row has one run, after one that does not count
 * @param seconds of each run
 */
export async function logins({ only = Object.keys(ROWS), rounds = 7, seconds = 2, users = 16 } = {}) {
  const names = Object.keys(ROWS).filter((name) => name === FLOOR || only.includes(name))
  const others = { core: CORES.others }
  const provider = await start(new URL('../lib/provider.mjs', import.meta.url), {}, others)
  const load = await start(new URL('../lib/login-load.mjs', import.meta.url), {}, others)
  const rows = []
  try {
    for (const name of names) {
      const { script, options, ...row } = ROWS[name]
      const server = await start(script, { provider: provider.url, ...options }, { core: CORES.server })
      rows.push({ name, ...row, server })
    }
    const floor = rows.find(({ name }) => name === FLOOR)
    const floorOf = (row) => (row === floor ? undefined : floor)
    await byPairs('logins', rows, rounds, floorOf, ({ server }, warmingUp) =>
      measure({ server, provider, load, users, seconds: warmingUp ? WARM_UP : seconds }),
    )
  } finally {
    for (const { server } of rows) {
      await server.ask('end').catch(() => {})
      await server.stop()
    }
    await load.stop()
    await provider.stop()
  }
  return rows.map(figures)
}

const cpuOf = async (children) => {
  const usages = await Promise.all(children.map((child) => child.ask('usage')))
  return usages.map(({ cpu }) => cpu / 1_000)
}

async function measure({ server, provider, load, users, seconds }) {
  const children = [server, provider, load]
  await provider.ask('reset')
  const before = await cpuOf(children)
  const run = await load.ask('run', {
    login: server.url + server.login,
    guarded: server.url + server.guarded,
    users,
    seconds,
  })
  const after = await cpuOf(children)
  const counts = await provider.ask('counts')
  const [own, ...rest] = after.map((cpu, index) => cpu - before[index])
  const milliseconds = run.seconds * 1_000
  return {
    ...run,
    perSecond: run.logins / run.seconds,
    cpu: own / run.logins,
    busy: own / milliseconds,
    // The rest shares a core: where it is busy all the time, it is what was measured, and only CPU can be compared.
    othersBusy: rest.reduce((sum, cpu) => sum + cpu) / milliseconds,
    tokens: counts.token / run.logins,
    other: counts.other / run.logins,
  }
}

/** Ratios are of two runs, one right after the other. */
function figures({ name, title, checks, runs, floorRuns }) {
  const all = (member) => runs.map((run) => run[member])
  const against = (member) => runs.map((run, index) => run[member] / (floorRuns[index] ?? run)[member])
  return {
    name,
    title,
    checks,
    perSecond: median(all('perSecond')),
    ratio: against('perSecond'),
    p50: median(all('p50')),
    p99: median(all('p99')),
    cpu: median(all('cpu')),
    cpuRatio: against('cpu'),
    busy: mean(all('busy')),
    othersBusy: mean(all('othersBusy')),
    tokens: mean(all('tokens')),
    other: mean(all('other')),
    failures: all('failures').reduce((sum, number) => sum + number),
  }
}

/** The table in Markdown. */
export function loginsTable(results) {
  const percent = (part) => `${(part * 100).toFixed(0)} %`
  const head = [
    'server',
    'checks',
    'sign-ins/s',
    'to `@fastify/oauth2`',
    'p50 ms',
    'p99 ms',
    'CPU ms a sign-in',
    'to `@fastify/oauth2`',
    'server busy',
    'provider and client busy',
    'token requests a sign-in',
    'metadata and keys a sign-in',
    'failed',
  ]
  const lines = results.map((row) => [
    row.title,
    row.checks,
    row.perSecond.toFixed(0),
    spread(row.ratio),
    row.p50.toFixed(1),
    row.p99.toFixed(1),
    row.cpu.toFixed(2),
    spread(row.cpuRatio),
    percent(row.busy),
    percent(row.othersBusy),
    row.tokens.toFixed(2),
    row.other.toFixed(2),
    row.failures,
  ])
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** As many as where hardly anything is checked. */
export function targets(results) {
  return results
    .filter(({ name }) => name.startsWith('ours'))
    .map(({ title, ratio }) => atLeast(`${title}: sign-ins/s of @fastify/oauth2`, median(ratio), 1))
}
