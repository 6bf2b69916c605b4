/** People who sign in, a fresh browser each, from a process of its own. */
import { Browser } from './browser.mjs'
import { percentile } from './statistics.mjs'

/** One after the other until the time is up: what is under way then is finished, and counts. */
async function person({ login, guarded }, end, done) {
  while (performance.now() < end) {
    const began = performance.now()
    const { status, url } = await new Browser().go(login).catch((error) => ({ status: error.code }))
    done({ took: performance.now() - began, failed: status !== 200 || url.href !== guarded })
  }
}

export async function start() {
  return {
    commands: {
      /**
       * @param login where a sign-in begins
       * @param guarded where it has to end
       */
      async run({ login, guarded, users, seconds }) {
        const began = performance.now()
        const times = []
        let failures = 0
        const done = ({ took, failed }) => {
          if (failed) failures++
          else times.push(took)
        }
        const people = Array.from({ length: users }, () => person({ login, guarded }, began + seconds * 1_000, done))
        await Promise.all(people)
        if (times.length === 0) throw new Error(`Nobody could sign in at ${login}.`)
        return {
          seconds: (performance.now() - began) / 1_000,
          logins: times.length,
          failures,
          p50: percentile(times, 50),
          p99: percentile(times, 99),
        }
      },
    },
  }
}
