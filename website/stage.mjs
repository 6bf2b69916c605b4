/** Brings what the site shows into one folder: our pages as they are, and of other files what they link to. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, extname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Where a page of the repository is on the site: the README is the first one. */
const placeOf = (page) => (page === 'README.md' ? 'index.md' : page)

/**
 * Copies pages, and everything in the repository that they link to, and what that links to.
 *
 * @param pages paths in the repository
 * @throws when a link leads nowhere
 */
export async function stagePages(pages, folder) {
  const waiting = [...pages]
  const staged = new Set(waiting)
  const want = (path) => {
    if (staged.has(path)) return
    staged.add(path)
    waiting.push(path)
  }
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const target = join(folder, path.endsWith('.md') ? placeOf(path) : path)
    await mkdir(dirname(target), { recursive: true })
    if (path.endsWith('.md')) {
      const text = await readFile(join(root, path), 'utf8')
      await writeFile(target, relinked(text, path, want))
    } else if (isPicture(path)) await cp(join(root, path), target)
    else await writeFile(`${target}.md`, await shown(path))
  }
  return staged
}

const isPicture = (path) => ['.svg', '.png', '.jpg', '.gif', '.webp'].includes(extname(path))

/** The text with links to where things are on the site. */
function relinked(text, page, want) {
  // Code is left alone: brackets and parentheses mean something else there.
  return text
    .split(/(^```.*?^```|`[^`\n]*`)/gms)
    .map((part, index) =>
      index % 2 === 1
        ? part
        : part.replace(
            /(\]\(|\b(?:src|srcset|href)=")([^)\s"]+)(?=[)"])/g,
            (_, before, link) => before + relink(link, page, want),
          ),
    )
    .join('')
}

function relink(link, page, want) {
  const [, path, anchor] = /^([^#]*)(#.*)?$/.exec(link)
  if (path === '' || /^[a-z]+:/.test(path)) return link
  const target = posix.join(posix.dirname(page), path).replace(/\/$/, '')
  const file = statSync(join(root, target), { throwIfNoEntry: false })
  if (!file) throw new Error(`${page} links to ${link}, which is not there`)
  const readme = posix.join(target, 'README.md')
  const wanted = file.isDirectory() && existsSync(join(root, readme)) ? readme : target
  want(wanted)
  const place = wanted.endsWith('.md') ? placeOf(wanted) : isPicture(wanted) ? wanted : `${wanted}.md`
  const relative = posix.relative(posix.dirname(placeOf(page)), place)
  return (relative.startsWith('.') ? relative : `./${relative}`) + (anchor ?? '')
}

/** A page that shows a file which is none, or what is in a folder. */
async function shown(path) {
  const full = join(root, path)
  if (statSync(full).isDirectory())
    return `# ${path}\n\n${readdirSync(full)
      .map((name) => `- ${name}\n`)
      .join('')}`
  const text = await readFile(full, 'utf8')
  const language = { '.ts': 'ts', '.mjs': 'js', '.js': 'js', '.json': 'json', '.yml': 'yaml' }[extname(path)] ?? 'text'
  return `# ${path}\n\n\`\`\`\`${language}\n${text.trimEnd()}\n\`\`\`\`\n`
}
