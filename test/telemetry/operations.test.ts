/** Dashboard, alerts and pages ask for what is there: every metric, attribute and code in them is one that a running app brings about. */
import { readdirSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/storage/memory.js'
import { startApp } from '../helpers/app.js'
import { startSdk } from './sdk.js'

const read = (file: string) => readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8')
const dashboardText = read('operations/grafana-dashboard.json')
const alerts = read('operations/alerts.yml')
const pages = ['observability.md', 'runbook.md'].map(read).join('\n')
const codes = new Set([...read('errors.md').matchAll(/FST_OAUTH2_\w+/g)].map(([code]) => code))

interface Panel {
  readonly type: string
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
}
const dashboard = JSON.parse(dashboardText) as { readonly panels: readonly Panel[] }
const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

/** As OpenTelemetry's exporter for Prometheus writes it. */
const inPrometheus = (name: string) => name.replaceAll('.', '_')
let metrics: Set<string>
let otherNames: Set<string>
let series: Set<string>
let labels: Set<string>

test.sequential('an app that lives through all of it tells of every metric', async () => {
  const sdk = startSdk()
  const store = { ...memoryStore(), shared: true, peek: undefined as never }
  const { browser, url, clock, provider } = await startApp({
    storage: store,
    client: { encryptionKeys: 'k'.repeat(32) },
  })
  await browser.goto(`${url}/profile`)
  await browser.xhr(`${url}/files`)
  clock.advance(3_601_000)
  await browser.xhr(`${url}/profile`)
  clock.advance(3_601_000)
  provider.tokenAnswer = () => ({ status: 400, body: { error: 'invalid_grant' } })
  await browser.xhr(`${url}/profile`)
  const told = await sdk.points()
  metrics = new Set(Object.keys(told))
  otherNames = new Set(
    sdk.spans().flatMap(({ name, attributes }) => [name.split(' ')[0] as string, ...Object.keys(attributes)]),
  )
  for (const { points } of Object.values(told))
    for (const { attributes } of points) for (const name of Object.keys(attributes)) otherNames.add(name)
  series = new Set(
    Object.entries(told).flatMap(([name, { kind, unit }]) => {
      const base = inPrometheus(name) + (unit === 's' ? '_seconds' : '')
      return kind === 'counter' ? [`${base}_total`] : ['_bucket', '_sum', '_count'].map((suffix) => base + suffix)
    }),
  )
  labels = new Set([...otherNames].map(inPrometheus))
  expect(metrics.size).toBe(6)
})

describe('what they ask for', () => {
  beforeAll(() => expect(series, 'the test before this one').toBeDefined())
  const uses = (text: string) => [...text.matchAll(/\boauth2client_\w+/g)].map(([name]) => name)

  test.each([
    ['dashboard', queries.join('\n')],
    ['alerts', alerts],
    ['pages', pages],
  ])('%s: series and labels that there are', (_name, text) => {
    const wrong = uses(text).filter((name) => !series.has(name) && !labels.has(name))
    expect(wrong).toEqual([])
  })

  test('labels are compared with values of theirs', () => {
    for (const text of [queries.join('\n'), alerts])
      for (const [, label = ''] of text.matchAll(/[{,] ?(\w+)(?:=~|!~|!=|=)"/g)) {
        if (label !== '__name__') expect([...labels], label).toContain(label)
      }
    for (const [, value] of `${alerts}${queries}`.matchAll(/outcome[!=~]+\\?"([\w|]+)/g))
      for (const word of (value as string).split('|')) expect(pages).toContain(`\`${word}\``)
  })

  test('pages name every metric, and no other', () => {
    const named = [...read('observability.md').matchAll(/`(oauth2client\.[\w.]+)/g)].map(([, name]) => name as string)
    expect(named.filter((name) => !metrics.has(name) && !otherNames.has(name))).toEqual([])
    for (const name of metrics) expect(named, name).toContain(name)
  })
})

test('codes are ours', () => {
  const used = [alerts, dashboardText, pages].flatMap((text) =>
    [...text.matchAll(/FST_OAUTH2_[A-Z]\w+/g)].map(([code]) => code),
  )
  const short = [...`${alerts}${dashboardText}`.matchAll(/FST_OAUTH2_\(([\w|]+)\)/g)].flatMap(([, names = '']) =>
    names.split('|').map((name) => `FST_OAUTH2_${name}`),
  )
  expect([...used, ...short].filter((code) => !codes.has(code))).toEqual([])
  expect(used.length).toBeGreaterThan(10)
})

test('every panel has a query and a place of its own', () => {
  const drawn = dashboard.panels.filter(({ type }) => type !== 'row')
  expect(drawn.length).toBeGreaterThan(12)
  for (const { title, targets = [] } of drawn) {
    expect(targets.length, title).toBeGreaterThan(0)
    for (const { expr } of targets) {
      expect(expr, title).toMatch(/oauth2client_/)
      for (const [open, close] of ['()', '{}', '[]'] as const)
        expect(expr.split(open as string).length, expr).toBe(expr.split(close as string).length)
    }
  }
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`),
  )
  expect(new Set(cells).size).toBe(cells.length)
})

test('every alert has a query, a severity, a summary and a section of the runbook that answers four questions', () => {
  const rules = alerts.split(/^ {6}- alert: /m).slice(1)
  expect(rules.length).toBeGreaterThan(9)
  const sections = new Map(
    read('runbook.md')
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')).toLowerCase(), section] as const),
  )
  const names = rules.map((rule) => rule.slice(0, rule.indexOf('\n')))
  for (const [index, rule] of rules.entries()) {
    const name = names[index] as string
    expect(rule, name).toMatch(/ {8}expr: \|\n {10}.*oauth2client_/s)
    expect(rule, name).toMatch(/severity: (critical|warning)/)
    expect(rule, name).toContain('summary: ')
    expect(rule, name).toContain(`runbook_url: docs/runbook.md#${name.toLowerCase()}`)
    for (const question of ['**Means:**', '**People notice:**', '**Look at:**', '**Do:**'])
      expect(sections.get(name.toLowerCase()), name).toContain(question)
  }
  expect([...sections.keys()].sort()).toEqual(names.map((name) => name.toLowerCase()).sort())
  expect(readdirSync(new URL('../../docs/operations', import.meta.url)).sort()).toEqual([
    'alerts.yml',
    'grafana-dashboard.json',
  ])
})
