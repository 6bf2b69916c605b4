// One of several processes that use a store. Plain JavaScript, started by children.ts.
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, task] = process.argv.slice(2)
const { kind, path, service, action, count = 0 } = JSON.parse(task)
const load = (name) => import(pathToFileURL(`${folder}/src/storage/${name}.js`).href)

async function open() {
  if (kind === 'file') return (await load('file')).fileStore({ path })
  if (kind === 'keyring') return (await load('keyring')).keyringStore({ service, path })
  const [{ sqlStore }, { openSqlite }] = [await load('sql'), await load('sqlite')]
  return sqlStore({ db: await openSqlite({ path }), closeDb: true })
}

/** Has this process killed before one of its next calls of the file system. */
async function dieBefore(call) {
  let left = call
  const watch = (owner, name) => {
    const original = owner[name]
    owner[name] = function (...args) {
      if (left-- === 0) process.kill(process.pid, 'SIGKILL')
      return original.apply(this, args)
    }
  }
  const handle = await fs.open(path)
  for (const name of ['stat', 'readFile', 'writeFile', 'sync', 'close']) watch(Object.getPrototypeOf(handle), name)
  for (const name of ['open', 'mkdir', 'rename', 'rmdir', 'unlink', 'readdir']) watch(fs, name)
  syncBuiltinESMExports()
}

const store = await open()
// Not as options of spawn: the other user may not be allowed to reach the node that runs here.
const other = Number(process.env.CHILD_USER)
if (other) {
  process.setgroups([])
  process.setgid(other)
  process.setuid(other)
}
if (action === 'increment') {
  for (let done = 0; done < count; ) {
    const stored = await store.get('counter')
    if (await store.put('counter', String(Number(stored.value) + 1), stored.generation)) done++
  }
} else if (action === 'die') {
  await dieBefore(count)
  await store.put('k', 'new')
} else if (action === 'write') {
  for (let round = 0; ; round++) {
    await store.put('k', 'x'.repeat(100_000) + round)
    if (round === 2) process.stdout.write('writing')
  }
} else {
  console.log((await store.get('k'))?.value)
  await store.put('k', 'new').catch((error) => console.log(error.code, error.cause.message))
}
await store.close()
