/**
 * Processes of their own, which tell what they cost: servers on one core, everything that asks them on the others. The script of a
 * child is a module with `start(options)`, whose result has `url` and answers to commands as members.
 */
import { spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('./child-entry.mjs', import.meta.url))
const running = new Set()

/** Which cores: on a machine with only one, nothing is pinned. */
export const CORES = cpus().length > 1 ? { server: '0', others: '1' } : {}

/** Has a command run on one core. */
export const pinned = (core, command) => (core === undefined ? command : ['taskset', '-c', core, ...command])

/**
 * @param script URL of the module
 * @param core which core it may use
 */
export async function start(script, options = {}, { core, env, execArgv = [] } = {}) {
  const [command, ...args] = pinned(core, [
    process.execPath,
    ...execArgv,
    ENTRY,
    String(script),
    JSON.stringify(options),
  ])
  const child = spawn(command, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  const waiting = new Map()
  let last = 0
  const gone = new Promise((_, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`${script} ended: ${code ?? signal}`)))
  })
  gone.catch(() => {})
  const ready = new Promise((resolve, reject) => {
    child.on('message', ({ id, value, error }) => {
      const answer = id === 0 ? { resolve, reject } : waiting.get(id)
      waiting.delete(id)
      if (error === undefined) answer?.resolve(value)
      else answer?.reject(new Error(error))
    })
  })
  const ask = (name, argument) => {
    const id = ++last
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }))
    child.send({ id, name, argument })
    return Promise.race([answer, gone])
  }
  const facts = await Promise.race([ready, gone])
  return {
    ...facts,
    pid: child.pid,
    ask,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.disconnect()
      setTimeout(() => child.kill('SIGKILL'), 5_000).unref()
      await exited
    },
  }
}

/** Whatever happens, nothing goes on running. */
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
