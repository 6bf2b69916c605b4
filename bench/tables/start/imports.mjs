/** Milliseconds that an import takes: those of a process that does nothing else, without those of an empty one. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CORES, pinned } from '../../lib/child.mjs'
import { markdown } from '../../lib/markdown.mjs'
import { median, spread } from '../../lib/statistics.mjs'
import { byTurns } from '../../lib/turns.mjs'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../..', import.meta.url))

const ROWS = {
  nothing: '',
  'openid-client': "import 'openid-client'",
  'fastify-oauth2client': "import './dist/index.js'",
}

export async function imports({ rounds = 20 } = {}) {
  const rows = Object.entries(ROWS).map(([name, code]) => ({ name, code }))
  await byTurns('imports', rows, rounds, async ({ code }) => {
    const [command, ...args] = pinned(CORES.server, [process.execPath, '--input-type=module', '--eval', code])
    const began = performance.now()
    await run(command, args, { cwd: root })
    return performance.now() - began
  })
  const [nothing, ...others] = rows
  return others.map(({ name, runs }) => ({ name, ms: runs, own: median(runs) - median(nothing.runs) }))
}

/** How long ours takes, as a multiple of the library under it. */
export function importRatio(results) {
  const ownOf = (wanted) => results.find(({ name }) => name === wanted).own
  return ownOf('fastify-oauth2client') / ownOf('openid-client')
}

export const importsTable = (results) =>
  markdown(
    ['import', 'ms of the process', 'ms without an empty one'],
    results.map(({ name, ms, own }) => [`\`${name}\``, spread(ms, 0), own.toFixed(1)]),
  )
