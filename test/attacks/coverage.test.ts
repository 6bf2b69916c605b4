import { expect, test } from 'vitest'
import { allIds, coverage, idsNamed, ourCoverage } from './coverage.js'

const lines = (rows: string[]) => rows.map((row) => `| ${row} |`).join('\n')
const whole = allIds().map((id) => `${id} | an attack | a check | \`a.test.ts\``)
const named = (ids = allIds()) => new Map([['test/a.test.ts', new Set(ids)]])

test('every attack has a test by its id, or a reason in the threat model', () => {
  const { gaps, table } = ourCoverage()
  // Asked for by name, it tells the whole.
  if (process.env.npm_lifecycle_event === 'attacks') console.log(table)
  expect(gaps).toEqual([])
})

test('ids are read from names of tests, in every form that those have', () => {
  const source = `
    test('A1: one', f)
    describe(\`A2, B3: two (\${storage})\`, f)
    test.each([['C7: a row', 1], ['no id', 2]])('%s', f)
    test("D1-D3: a range; E2 is said in passing", f)
    describe.each(kinds)('J1-2 with %s', f)
    test.skip('K1: skipped', f)
    test.todo('K2: to do')
    // test('K3: commented out', f)
    const other = 'FL-3 PK-1 A99x', spelled = 'A4'
  `
  expect([...idsNamed(source)]).toEqual(['A1', 'A2', 'B3', 'C7', 'D1', 'D2', 'D3', 'J1', 'J2'])
})

test('what is whole has no gaps', () => {
  expect(coverage(lines(whole), named()).gaps).toEqual([])
  const reasoned = [...whole.slice(1), 'A1 | an attack | - | does not apply: there is none of it here']
  expect(coverage(lines(reasoned), named(allIds().slice(1))).gaps).toEqual([])
})

test.each<[string, string[], string[]]>([
  ['a row is missing', whole.slice(1), allIds()],
  ['a row is there twice', [...whole, whole[0] as string], allIds()],
  ['a row names nothing', [...whole.slice(1), 'A1 | an attack | a check | later'], allIds()],
  ['a file does not exist', [...whole.slice(1), 'A1 | an attack | a check | `b.test.ts`'], allIds()],
  ['no test has the id', whole, allIds().slice(1)],
  ['a test has an id that nobody knows', whole, [...allIds(), 'A18']],
  ['the threat model has an id that nobody knows', [...whole, 'E5 | an attack | a check | `a.test.ts`'], allIds()],
])('it is a gap when %s', (_name, rows, ids) => {
  expect(coverage(lines(rows), named(ids)).gaps.length).toBeGreaterThan(0)
})
