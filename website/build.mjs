/** Builds the site into `website/dist`: docs/ and the other pages, and the API reference. */
import { readFile, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'vitepress'
import { writeReference } from './api.mjs'
import { stagePages } from './stage.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const pages = `${here}pages`

await rm(pages, { recursive: true, force: true })
const groups = JSON.parse(await readFile(`${here}navigation.json`, 'utf8'))
await stagePages(
  groups.flatMap(({ pages }) => pages),
  pages,
)
await writeReference(`${pages}/api`)
await build(here)
