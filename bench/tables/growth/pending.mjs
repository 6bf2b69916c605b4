/** Authorization requests that nobody ends: in a browser as cookies, in a store as accounts that wait for a yes. */
import { Browser } from '../../lib/browser.mjs'
import { fill } from '../../lib/fill.mjs'
import { load } from '../../lib/load.mjs'
import { inParallel } from '../../lib/parallel.mjs'
import { measureCurve } from './curve.mjs'
import { rowsOf, startOurs } from './servers.mjs'

const AUTHORIZE = '/oauth2authorize'
/** A browser keeps five of ours, however many were begun. */
const BEGUN = [0, 1, 2, 3, 4, 5, 50]
const MOST = 5
const USERS = 1_000

/** One browser that has begun more and more flows: the same guarded request, and beginning another one. */
export async function growCookies(provider, servers, turns) {
  const server = await startOurs(servers, { provider: provider.url, store: 'memory', sessions: 'session' })
  const rows = []
  for (const at of BEGUN) {
    const browser = new Browser()
    await browser.go(server.url + server.guarded)
    for (let left = at; left > 0; left--) await browser.go(server.url + AUTHORIZE, { redirects: 0 })
    const { cookie } = browser
    const kept = cookie.split('flow.').length - 1
    if (kept !== Math.min(at, MOST)) throw new Error(`${at} flows were begun, and ${kept} are kept.`)
    const lines = {
      'guarded request': [server.guarded, 'application/json'],
      'beginning another': [AUTHORIZE, 'text/html'],
    }
    for (const [line, [path, accept]] of Object.entries(lines)) {
      rows.push({ line, at, run: (seconds) => load([server], path, { seconds, headers: { cookie, accept } }) })
    }
  }
  return measureCurve('growth of pending cookies', rows, turns)
}

/** Accounts that another site had somebody connect, and that nobody confirmed. @param pending how many at most */
export async function growLinks(provider, servers, { stores, pending, ...turns }) {
  const sizes = [0, 10, 100, 1_000, 10_000].filter((size) => size < pending)
  const wanted = stores.flatMap((store) => [...sizes, pending].map((at) => ({ store, at, users: USERS })))
  const { places, remove } = await fill(provider.url, wanted)
  try {
    const rows = []
    for (const { store, at, name } of places) {
      const server = await startOurs(servers, { provider: provider.url, store, name, byHeader: true })
      await inParallel(at, (n) => leaveUnconfirmed(server, `newcomer-${n}`))
      rows.push(...rowsOf({ store, at, servers: [server], users: USERS }))
    }
    return await measureCurve('growth of pending links', rows, turns)
  } finally {
    await remove()
  }
}

async function leaveUnconfirmed(server, user) {
  const headers = { 'x-user': user, 'sec-fetch-site': 'cross-site' }
  const { status, body } = await new Browser().go(server.url + AUTHORIZE, { headers })
  if (!body.includes('<form')) throw new Error(`Nobody was asked to confirm an account: ${status} ${body}`)
}
