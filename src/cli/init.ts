/** `oauth2client init`: a small app that works, to begin with. */
import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { defineCommand, type Io, OK, printable, UsageError } from './command.js'
import { appFile, pageFile, serverFile } from './init/app.js'
import { type Choices, extension, providerChoice, STORES, type StoreName } from './init/choices.js'
import { envFile, gitignoreFile, packageFile, readmeFile, tsconfigFile } from './init/project.js'
import { localFile, settingsFile, storeFile } from './init/settings.js'
import { testFile } from './init/test.js'
import { clientOf } from './target.js'

const HELP = `Usage: oauth2client init <folder> [--provider <name or issuer>] [--store <name>] [--typescript] [--force]

Writes a small app that signs people in: "npm run dev" starts it with an authorization server of its own, and with the
provider as soon as .env says who the app is there.

  npx fastify-oauth2client init my-app
  npx fastify-oauth2client init my-app --provider github --store sqlite --typescript
  npx fastify-oauth2client init my-app --provider https://login.example.com

Options:
  --provider <which>  a provider by the name of its preset, or the issuer of any other. Default: google
  --issuer <url>      where the preset wants one, such as okta
  --store <name>      where credentials are kept: session, sqlite, postgres or redis. Default: session
  --javascript        the language, which is the default
  --typescript        the other one, compiled by tsc
  --force             writes over files that are there. All others stay
  --json              { "folder": ..., "files": [...] }
  -h, --help          this text
`

export const init = defineCommand({
  name: 'init',
  summary: 'writes a small app to begin with',
  help: HELP,
  positionals: 1,
  options: {
    provider: { type: 'string' },
    issuer: { type: 'string' },
    store: { type: 'string' },
    javascript: { type: 'boolean' },
    typescript: { type: 'boolean' },
    force: { type: 'boolean' },
    json: { type: 'boolean' },
  },
  async run(values, io, [target]) {
    if (!target) throw new UsageError('takes the folder of the app, as in: oauth2client init my-app')
    if (values.javascript && values.typescript) throw new UsageError('is for --javascript or for --typescript.')
    const folder = resolve(io.cwd, target)
    const choices: Choices = {
      name: nameOf(folder),
      provider: providerOf(values, io),
      store: storeOf(values.store),
      typescript: values.typescript ?? false,
      range: await ranges(),
    }
    const files = filesOf(choices)
    if (!values.force) await checkFree(folder, Object.keys(files))
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      // Somebody else may have made one meanwhile.
      await writeFile(join(folder, path), text, { flag: values.force ? 'w' : 'wx' })
    }
    if (values.json) io.stdout.write(`${JSON.stringify({ folder, files: Object.keys(files) })}\n`)
    else for (const path of Object.keys(files)) io.stdout.write(`${path}\n`)
    io.stderr.write(nextSteps(relative(io.cwd, folder), choices))
    return OK
  },
})

/** What is written, by path. */
function filesOf(choices: Choices): Record<string, string> {
  const ext = extension(choices)
  const store = storeFile(choices)
  return {
    'package.json': packageFile(choices),
    ...(choices.typescript ? { 'tsconfig.json': tsconfigFile() } : {}),
    '.env.example': envFile(choices),
    '.gitignore': gitignoreFile(choices),
    'README.md': readmeFile(choices),
    [`src/app.${ext}`]: appFile(choices),
    [`src/page.${ext}`]: pageFile(choices),
    [`src/settings.${ext}`]: settingsFile(choices),
    [`src/local.${ext}`]: localFile(choices),
    ...(store === undefined ? {} : { [`src/store.${ext}`]: store }),
    [`src/server.${ext}`]: serverFile(),
    [`test/app.test.${ext}`]: testFile(choices),
  }
}

function nextSteps(folder: string, { provider }: Choices): string {
  const enter = folder === '' ? '' : `  cd ${/^[\w./-]+$/.test(folder) ? folder : JSON.stringify(printable(folder))}\n`
  return `
Next:
${enter}  npm install
  npm run dev    # http://localhost:3000: any user name, and the password "password"

README.md says what to register at ${provider.label}.
`
}

/** The name of the package is that of the folder. */
function nameOf(folder: string): string {
  const name = basename(folder).toLowerCase()
  if (/^[a-z\d][a-z\d._-]{0,100}$/.test(name) && name !== 'node_modules') return name
  throw new UsageError(
    "calls the app like its folder, whose name begins with a letter or a digit and goes on with letters, digits, '-', '_' and '.'.",
  )
}

function providerOf(values: { provider?: string; issuer?: string }, io: Io): Choices['provider'] {
  const { provider = values.issuer === undefined ? 'google' : undefined, issuer } = values
  const isIssuer = provider !== undefined && /^https?:/i.test(provider)
  if (isIssuer && issuer !== undefined) throw new UsageError('--provider is an issuer already: leave --issuer out.')
  const where = isIssuer ? provider : issuer
  if (where !== undefined && !/^[\x21-\x7e]+$/.test(where)) throw new UsageError('--issuer is a URL in plain letters.')
  const which = { ...(isIssuer ? {} : { provider }), issuer: where }
  // Whether there is such a thing is what the other commands say, and how.
  clientOf(which, io)
  return providerChoice(which.provider, where)
}

function storeOf(store = 'session'): StoreName {
  const found = STORES.find((name) => name === store)
  if (!found) throw new UsageError(`--store is one of ${STORES.join(', ')}.`)
  return found
}

/** @throws Error that names what is in the way */
async function checkFree(folder: string, paths: readonly string[]): Promise<void> {
  const there = await Promise.all(paths.map((path) => exists(join(folder, path))))
  const taken = paths.filter((_, index) => there[index])
  if (taken.length === 0) return
  throw new Error(`would write over ${taken.join(', ')}. Nothing was written. Choose another folder, or say --force.`)
}

async function exists(path: string): Promise<boolean> {
  // A link that leads nowhere is in the way too.
  return lstat(path).then(
    () => true,
    () => false,
  )
}

/** Those that this version was tested with. */
async function ranges(): Promise<Choices['range']> {
  // As far from here in `src` as in `dist`.
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  const own = JSON.parse(text) as { name: string; version: string; devDependencies: Record<string, string> }
  return (name) => (name === own.name ? `^${own.version}` : (own.devDependencies[name] ?? '*'))
}
