/** The code in the README, the docs and the doc comments, as files that a compiler can read. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** By the name of the file, without its ending: each page in a folder of its own. */
export function readSnippets(): Map<string, string> {
  const snippets = new Map<string, string>()
  for (const file of ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]) {
    if (!file.endsWith('.md')) continue
    // Those that begin with the name of a file are files of their own, which others of the page import. None is called a test here.
    const named = (block: string) => /^\/\/ (\S+)\.[jt]s\n/.exec(block)?.[1]?.replace('.test', '-test')
    const all = [...readFileSync(join(root, file), 'utf8').matchAll(/^```([jt]s)\n(.*?)^```/gms)]
      // JavaScript without a name is what somebody else's library has people write.
      .filter(([, language, block = '']) => language === 'ts' || named(block))
      .map(([, , block = '']) => block)
    const page = file.replace(/\W+/g, '-')
    for (const block of all.filter(named)) snippets.set(`${page}/${named(block)}`, block)
    const blocks = all.filter((block) => !named(block))
    if (blocks.length > 0) snippets.set(`${page}/page`, blocks.join('\n'))
  }
  for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue
    const text = readFileSync(join(root, 'src', file), 'utf8')
    for (const [index, match] of [...text.matchAll(/^ *\* ```ts\n(.*?)^ *\* ```/gms)].entries()) {
      snippets.set(`src/${file.replace(/\W+/g, '-')}-${index}`, (match[1] as string).replace(/^ *\* ?/gm, ''))
    }
  }
  return new Map([...snippets].map(([name, text]) => [name, `${text}\nexport {}\n`]))
}

/** Whether it says which clients its app has: then it is an app of its own, since that holds for all that is compiled with it. */
export const declaresClients = (text: string) => text.includes('interface RegisteredClients')
