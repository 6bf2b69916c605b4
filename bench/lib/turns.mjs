/** Rows are measured by turns, so that whatever else the machine does falls on all of them. */
import { checkStopped } from './stop.mjs'

/**
 * @param rows each gets `runs`, one a round
 * @param rounds after one that does not count
 * @param measure `(row, round) => Promise` of what goes into `runs`
 */
export async function byTurns(title, rows, rounds, measure) {
  for (const row of rows) row.runs = []
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      checkStopped()
      const run = await measure(row, round)
      if (round > 0) row.runs.push(run)
    }
    process.stderr.write(`${title}: round ${round} of ${rounds}\n`)
  }
  return rows
}
