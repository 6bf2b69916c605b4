/** What exists, for documents that name it: exports of entry points, members of classes and interfaces, options, commands. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { main } from '../../src/cli/main.js'

/**
 * @param place an entry point (`/flows`, or the package itself), a class or interface, `command`, or `npm`
 * @throws when there is no such place
 */
export async function namesOf(root: string, place: string): Promise<ReadonlySet<string>> {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  if (place === 'command') return commands()
  if (place === 'npm')
    return new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.devDependencies }))
  if (place === manifest.name || place.startsWith('/')) {
    const target = manifest.exports[place === manifest.name ? '.' : `.${place}`]?.types as string | undefined
    if (!target) throw new Error(`there is no entry point ${place}`)
    const source = join(root, target.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts'))
    const values = await import(pathToFileURL(source).href)
    return new Set([...Object.keys(values), ...typesOf(source)])
  }
  return membersOf(join(root, 'src'), place)
}

/** Types leave no trace at run time: they are looked for in the text. */
function typesOf(source: string): string[] {
  const text = readFileSync(source, 'utf8')
  const lists = [...text.matchAll(/^export (type )?\{([^}]*)\}/gm)].flatMap(([, all, list]) =>
    (list as string)
      .split(',')
      .flatMap((item) => (all || /^\s*type /.test(item) ? [item.trim().replace(/^type /, '')] : [])),
  )
  const own = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name]) => name as string)
  return [...lists, ...own].filter((name) => name !== '')
}

/** Public members of a class or an interface and of what it extends, by the text of its declaration. */
function membersOf(src: string, name: string): Set<string> {
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))) {
    const text = readFileSync(join(src, file), 'utf8')
    const declaration = new RegExp(
      `^export (?:abstract )?(?:class|interface) ${name}\\b(?:<[^>]*>)?(?: extends (\\w+))?.*?\\{$(.*?)^\\}`,
      'ms',
    ).exec(text)
    if (!declaration) continue
    const [, parent, body] = declaration as unknown as [string, string | undefined, string]
    const own = [
      ...body.matchAll(/^ {2}(?:(?:declare|readonly|static|abstract|async|override|get) )*(\w+)\??[(:<]/gm),
    ].map(([, member]) => member as string)
    // Errors are made by a function; what all of them have is said where they are.
    const inherited = parent && parent !== 'Error' && parent !== 'define' ? membersOf(src, parent) : []
    return new Set([...own, ...inherited])
  }
  throw new Error(`there is no class or interface ${name}`)
}

/** Commands, and each with its options: `migrate`, `migrate --print`. */
async function commands(): Promise<Set<string>> {
  const help = await said('--help')
  const list = help.slice(help.indexOf('Commands:'), help.indexOf('Options:'))
  const names = [...list.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name as string)
  const options = names.map(async (name) =>
    [...(await said(name, '--help')).matchAll(/--[\w-]+/g)].map(([flag]) => `${name} ${flag}`),
  )
  return new Set([...names, ...(await Promise.all(options)).flat()])
}

async function said(...args: string[]): Promise<string> {
  const chunks: string[] = []
  const out = { write: (chunk: string) => chunks.push(chunk), isTTY: false }
  await main(args, { stdout: out, stderr: out, env: {}, cwd: '/' })
  return chunks.join('')
}
