/** Counts objects of our own classes, and calls within a file, as V8 saw them: the sources are as they are. */
import { readdirSync, readFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { fileURLToPath } from 'node:url'
import { add, type Tally } from './tally.js'

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly functionName: string
      readonly ranges: readonly { readonly count: number }[]
    }[]
  }[]
}

const src = new URL('../../src/', import.meta.url)
const NOT_COUNTED = /^(testing|cli)\//
/** Each class, and the one of ours that it extends. */
const classes = new Map<string, string | undefined>()
for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.ts') || NOT_COUNTED.test(file)) continue
  const text = readFileSync(new URL(file, src), 'utf8')
  for (const [, name, base] of text.matchAll(
    /^(?:export )?(?:abstract )?class (\w+)(?:<[^>]*>)?(?: extends (\w+))?/gm,
  )) {
    classes.set(name as string, base)
  }
}

const session = new Session()
session.connect()
post('Profiler.enable')
post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })

export interface Calls {
  /** By class. */
  readonly objects: Tally
  /** Calls of a file's functions, by name; for what has to happen once: other numbers change with every refactoring. */
  functionsOf(file: string): Tally
}

export function startCountingCalls(): void {
  take()
}

/** What was called since the last time. */
export function stopCountingCalls(): Calls {
  const files = new Map<string, Tally>()
  const constructed: Tally = {}
  for (const { url, functions: called } of take()) {
    const file = fileOf(url)
    if (file === undefined) continue
    const functions = files.get(file) ?? {}
    files.set(file, functions)
    for (const { functionName: name, ranges } of called) {
      const count = ranges[0]?.count ?? 0
      if (count === 0) continue
      add(functions, name, count)
      if (classes.has(name)) add(constructed, name, count)
    }
  }
  return { objects: withoutBases(constructed), functionsOf: (file) => files.get(file) ?? {} }
}

/** Whoever extends a class calls its constructor too, for one object. */
function withoutBases(constructed: Tally): Tally {
  const objects = { ...constructed }
  for (const [name, count] of Object.entries(constructed)) {
    const base = classes.get(name)
    if (base !== undefined && base in objects) add(objects, base, -count)
  }
  return Object.fromEntries(Object.entries(objects).filter(([, count]) => count > 0))
}

function fileOf(url: string): string | undefined {
  // A file that was imported again has a query.
  const path = url.startsWith('file:') ? fileURLToPath(new URL(url)) : url
  const root = fileURLToPath(src)
  const file = path.startsWith(root) ? path.slice(root.length) : undefined
  return file === undefined || NOT_COUNTED.test(file) ? undefined : file
}

function take(): Coverage['result'] {
  return (post('Profiler.takePreciseCoverage') as Coverage).result
}

/** The inspector answers at once where it is asked from within. */
function post(method: string, params: object = {}): unknown {
  let answer: unknown
  session.post(method, params, (error, result) => {
    if (error) throw error
    answer = result
  })
  return answer
}
