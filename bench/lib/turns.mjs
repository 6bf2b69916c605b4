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

/**
 * The same for rows that are compared with another one of them, their floor. Each is measured right beside its floor, which goes
 * first in every other round: on a machine that others use too, what was measured half a minute ago was another machine.
 *
 * @param rows where they have a floor they get `runs` and `floorRuns`, of the same length; a floor alone gets `runs`
 * @param floorOf the row that one is compared with, if it is
 */
export async function byPairs(title, rows, rounds, floorOf, measure) {
  for (const row of rows) Object.assign(row, { runs: [], floorRuns: [] })
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      checkStopped()
      const floor = floorOf(row)
      const keep = round > 0
      if (!floor) {
        const run = await measure(row, round)
        if (keep) row.runs.push(run)
        continue
      }
      const pair = new Map()
      for (const one of round % 2 === 0 ? [floor, row] : [row, floor]) pair.set(one, await measure(one, round))
      if (!keep) continue
      row.runs.push(pair.get(row))
      row.floorRuns.push(pair.get(floor))
    }
    process.stderr.write(`${title}: round ${round} of ${rounds}\n`)
  }
  return rows
}
