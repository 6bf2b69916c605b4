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
 * The same for rows that are compared with another one of them, their floor: one row after the other, each by turns with its floor, which
 * goes first in every other round. On a machine that others use too, what was measured half a minute ago was another machine; and a
 * server that is asked ten times as often as another, or that waits for its turn for a minute, is compiled better than that, or worse.
 *
 * @param rows where they have a floor they get `runs` and `floorRuns`, of the same length; a floor alone gets `runs`
 * @param floorOf the row that one is compared with, if it is
 * @param measure `(row, warmingUp) => Promise` of what goes into `runs`; what both did at first does not
 */
export async function byPairs(title, rows, rounds, floorOf, measure) {
  for (const [index, row] of rows.entries()) {
    const floor = floorOf(row)
    const both = floor ? [floor, row] : [row]
    Object.assign(row, { runs: [], floorRuns: [] })
    for (const one of both) await measure(one, true)
    for (let round = 0; round < rounds; round++) {
      checkStopped()
      const pair = new Map()
      for (const one of round % 2 === 0 ? both : both.toReversed()) pair.set(one, await measure(one, false))
      row.runs.push(pair.get(row))
      if (floor) row.floorRuns.push(pair.get(floor))
    }
    process.stderr.write(`${title}: ${index + 1} of ${rows.length}\n`)
  }
  return rows
}
