/**
 * Everything that can be imported says what it is and shows how it is used; every option and member says what it means. Whether
 * the examples compile is the matter of `test/package/snippets.test.ts`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript-6'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Exported {
  /** As it is imported: `fastify-oauth2client/flows: Provider`. */
  readonly name: string
  readonly symbol: ts.Symbol
  /** Whether it is there at run time: not for interfaces, nor for classes that are exported as types. */
  readonly isValue: boolean
}

const { checker, everything } = readExports()
const byName = new Map(everything.map((item) => [item.symbol.name, item]))

function readExports(): { checker: ts.TypeChecker; everything: Exported[] } {
  const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    name: string
    exports: Record<string, { types?: string }>
  }
  const entries = Object.entries(exports).flatMap(([subpath, { types }]) =>
    types
      ? [[name + subpath.slice(1), join(root, types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts'))] as const]
      : [],
  )
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root)
  const program = ts.createProgram(
    entries.map(([, file]) => file),
    options,
  )
  const checker = program.getTypeChecker()
  const found = new Map<ts.Symbol, Exported>()
  for (const [entry, file] of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file) as ts.SourceFile) as ts.Symbol
    for (const symbol of checker.getExportsOfModule(module)) {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      const typeOnly = symbol.declarations?.some(ts.isTypeOnlyExportDeclaration) ?? false
      const isValue = !typeOnly && (target.flags & ts.SymbolFlags.Value) !== 0
      const known = found.get(target)
      found.set(target, {
        name: known?.name ?? `${entry}: ${symbol.name}`,
        symbol: target,
        isValue: isValue || known?.isValue === true,
      })
    }
  }
  return { checker, everything: [...found.values()] }
}

const textOf = (symbol: ts.Symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim()

const tagsOf = (symbol: ts.Symbol, name: string) => symbol.getJsDocTags(checker).filter((tag) => tag.name === name)

/** An example that the compiler gets to see. */
const hasExample = (symbol: ts.Symbol) =>
  tagsOf(symbol, 'example').some(({ text }) => /^```ts\n/m.test(ts.displayPartsToString(text)))

/** Errors are made by one function, and their names say what happened. */
const isError = ({ symbol }: Exported) => /(extends|=) define[<(]/.test(declarationOf(symbol))
const declarationOf = (symbol: ts.Symbol) => symbol.declarations?.[0]?.getText() ?? ''

/** What the comment sends its reader on to, by `{@link …}`. */
function* linksOf(symbol: ts.Symbol): Generator<ts.Symbol> {
  for (const [, path = ''] of textOf(symbol).matchAll(/\{@link ([\w.]+)/g)) {
    const [first = '', member] = path.split('.')
    const target = byName.get(first)?.symbol
    if (!target) continue
    yield target
    const found = member === undefined ? undefined : target.members?.get(ts.escapeLeadingUnderscores(member))
    if (found) yield found
  }
}

test('everything that is exported says what it is', () => {
  expect(everything.length).toBeGreaterThan(200)
  expect(everything.filter(({ symbol }) => textOf(symbol) === '').map(({ name }) => name)).toEqual([])
})

test('everything that is exported shows how it is used, or types and errors name what does so', () => {
  const without = everything.filter((item) => {
    if (hasExample(item.symbol)) return false
    return (item.isValue && !isError(item)) || ![...linksOf(item.symbol)].some(hasExample)
  })
  expect(without.map(({ name }) => name)).toEqual([])
})

test('every option and every member says what it means', () => {
  const silent = everything.flatMap(({ name, symbol }) =>
    membersOf(symbol)
      .filter((member) => textOf(member) === '' && tagsOf(member, 'internal').length === 0)
      .map((member) => `${name}.${member.name}`),
  )
  expect(silent).toEqual([])
})

/** Members that are declared here and that others may use; a parameter that says what it is speaks for its method. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  const declarations = symbol.declarations?.filter(
    (node) => ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node),
  )
  return (declarations ?? []).flatMap((declaration) =>
    (declaration.members as ts.NodeArray<ts.ClassElement | ts.TypeElement>).flatMap((member) => {
      const { name } = member
      if (!name || (!ts.isIdentifier(name) && !ts.isStringLiteral(name))) return []
      if (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private) return []
      const found = checker.getSymbolAtLocation(name)
      return found ? [found] : []
    }),
  )
}
