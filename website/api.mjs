/** The API reference: a folder of pages for each entry point of package.json, from the doc comments of the sources. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Application, CommentTag, Converter, ReflectionKind } from 'typedoc'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What people look for first comes first. */
const KINDS = ['Functions', 'Classes', 'Interfaces', 'Type Aliases', 'Variables', 'Errors']

/** The sources of what can be imported, by the name that it is imported under. */
async function entryPoints() {
  const { name, exports } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
  return new Map(
    Object.entries(exports).flatMap(([subpath, { types }]) =>
      types ? [[name + subpath.slice(1), types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts')]] : [],
    ),
  )
}

/**
 * Writes the pages, and the tree of them as `navigation.json`.
 *
 * @throws when a comment links to something that is not there, or does not say what it means in any other way
 */
export async function writeReference(folder) {
  const entries = await entryPoints()
  const app = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    entryPoints: [...entries.values()].map((file) => root + file),
    tsconfig: fileURLToPath(new URL('tsconfig.json', import.meta.url)),
    basePath: root,
    readme: 'none',
    name: 'API reference',
    // `npm run typecheck` looks for those.
    skipErrorChecking: true,
    logLevel: 'Warn',
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    // There is no place on the web that is known to have these very lines.
    disableSources: true,
    treatWarningsAsErrors: true,
    validation: { invalidLink: true, invalidPath: true, notExported: false, rewrittenLink: true },
    sort: ['alphabetical'],
    groupOrder: KINDS,
    pageTitleTemplates: { member: '{name}', module: '{name}' },
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useCodeBlocks: true,
    outputs: [{ name: 'markdown', path: folder }],
    navigationJson: `${folder}/navigation.json`,
    entryFileName: 'index',
    parametersFormat: 'table',
    indexFormat: 'table',
    expandParameters: true,
    sanitizeComments: true,
    preservedTypeAnnotationTags: ['@throws'],
  })
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (_context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Module)) return
    const files = [`${reflection.name}.ts`, `${reflection.name}/index.ts`]
    for (const [name, source] of entries) if (files.includes(source)) reflection.name = name
  })
  // What is taken apart in the list of parameters has no name there.
  app.converter.on(Converter.EVENT_CREATE_PARAMETER, (_context, parameter) => {
    if (parameter.name === '__namedParameters') parameter.name = 'options'
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of Object.values(project.reflections)) {
      if (reflection.comment) listWhatIsThrown(reflection.comment)
      if (/^ErrorClass\b/.test(reflection.type?.toString())) {
        reflection.comment?.blockTags.push(new CommentTag('@group', [{ kind: 'text', text: 'Errors' }]))
      }
    }
  })
  // A comment may name everything that is exported, whether its file imports it or not.
  app.converter.addUnknownSymbolResolver((reference, reflection) => {
    const path = reference.symbolReference?.path?.map((part) => part.path)
    const [target] = reflection.project.getReflectionsByKind(ReflectionKind.Module).flatMap((module) => {
      const target = path && module.getChildByName(path)
      return target ? [target] : []
    })
    return target && { target }
  })
  const project = await app.convert()
  if (!project) throw new Error('the sources do not compile')
  app.validate(project)
  await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error('the API reference is not clean')
}

/** `@throws {StoreUnavailableError} when …`: one list, with the classes, which would be left out. */
function listWhatIsThrown(comment) {
  const [first, ...others] = comment.blockTags.filter(({ tag }) => tag === '@throws')
  if (!first) return
  first.content = [first, ...others].flatMap(({ typeAnnotation, content }) => {
    const name = typeAnnotation?.replace(/^\{|\}$/g, '')
    const space = /^\W/.test(content[0]?.text ?? '') ? '' : ' '
    const link = name
      ? [
          { kind: 'inline-tag', tag: '@link', text: name },
          { kind: 'text', text: space },
        ]
      : []
    const bullet = others.length > 0 ? [{ kind: 'text', text: '\n- ' }] : []
    return [...bullet, ...link, ...content]
  })
  first.typeAnnotation = undefined
  comment.blockTags = comment.blockTags.filter((tag) => !others.includes(tag))
}
