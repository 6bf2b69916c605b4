/** Stores in other processes; what those do is in `child.mjs`. */
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compileSources, type Ended, ended } from '../helpers/processes.js'

export { ended }

const script = fileURLToPath(new URL('child.mjs', import.meta.url))

/** What a child is told to do; see `child.mjs`. */
export interface Task {
  kind: 'file' | 'sqlite' | 'keyring'
  path: string
  /** Of `keyring`. */
  service?: string
  /** `increment`: that many times. `die`: before that many calls of the file system. `write`: until it is killed. */
  action: 'increment' | 'die' | 'write' | 'once'
  count?: number
}

export interface Children {
  start(task: Task, user?: number): ChildProcess
  /** Resolves to how the child ended and what it said. With `user`, it becomes that one first. */
  run(task: Task, user?: number): Promise<Ended>
  remove(): Promise<void>
}

export async function compileForChildren(): Promise<Children> {
  const compiled = await compileSources(['file', 'keyring', 'sql', 'sqlite'].map((name) => `src/storage/${name}`))
  const start: Children['start'] = (task, user) =>
    compiled.start(script, task, user === undefined ? {} : { env: { CHILD_USER: String(user) } })
  return { start, run: (task, user) => ended(start(task, user)), remove: compiled.remove }
}
