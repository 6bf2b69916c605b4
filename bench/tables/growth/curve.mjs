/** What is measured of a growing thing: rows by turns, each compared with the first of its line. */
import { markdown } from '../../lib/markdown.mjs'
import { plot } from '../../lib/plot.mjs'
import { median, spread, summary } from '../../lib/statistics.mjs'
import { byTurns } from '../../lib/turns.mjs'

/**
 * @param title what grows
 * @param rows `line` they belong to, `at` where on it, `run(seconds)` measures once
 * @returns figures of each round, and as `time` and `work` what a request takes and costs, over the first of the line
 */
export async function measureCurve(title, rows, { rounds = 5, seconds = 4 } = {}) {
  await byTurns(title, rows, rounds, (row) => row.run(seconds))
  return rows.map(({ line, at, runs }) => {
    const first = rows.find((row) => row.line === line).runs
    const all = (member) => runs.map((run) => run[member])
    return {
      line,
      at,
      perSecond: all('perSecond'),
      p50: all('p50'),
      p99: all('p99'),
      cpu: all('cpu'),
      time: runs.map((run, round) => first[round].perSecond / run.perSecond),
      work: runs.map((run, round) => run.cpu / first[round].cpu),
    }
  })
}

export function curveTable(grows, results) {
  const head = [
    'what',
    grows,
    'requests/s',
    'p50 ms',
    'p99 ms',
    'CPU µs a request',
    'time over the first',
    'CPU over the first',
  ]
  return markdown(
    head,
    results.map(({ line, at, perSecond, p50, p99, cpu, time, work }) => [
      line,
      at.toLocaleString('en'),
      median(perSecond).toFixed(0),
      median(p50).toFixed(2),
      median(p99).toFixed(2),
      spread(cpu, 0),
      spread(time),
      spread(work),
    ]),
  )
}

/** @param member which figure goes up */
export function curvePlot({ title, x, y }, results, member) {
  const lines = [...new Set(results.map(({ line }) => line))].map((line) => ({
    name: line,
    points: results.filter((row) => row.line === line).map((row) => ({ at: row.at, ...summary(row[member]) })),
  }))
  return plot({ title, x, y, lines })
}
