/** Load from a process of its own, by wrk. */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { CORES, pinned } from './child.mjs'

const RANDOM_USER = fileURLToPath(new URL('./random-user.lua', import.meta.url))
const UNITS = { us: 0.001, ms: 1, s: 1_000 }
const milliseconds = (text) => {
  const [, number, unit] = /^([\d.]+)(us|ms|s)$/.exec(text)
  return Number(number) * UNITS[unit]
}

/**
 * @param url what is asked for, again and again
 * @param seconds for how long
 * @param users each request is of a random one among so many, in its header `x-user`
 * @returns requests a second, and milliseconds
 */
export async function wrk(url, { connections = 32, seconds = 4, headers = {}, users } = {}) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s']
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`)
  const script = users === undefined ? [] : ['--', String(users), String(randomInt(2 ** 31))]
  if (users !== undefined) args.push('-s', RANDOM_USER)
  const text = await run(pinned(CORES.others, ['wrk', ...args, url, ...script]))
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`${url} failed under load:\n${text}`)
  const read = (pattern) => pattern.exec(text)?.[1]
  return {
    perSecond: Number(read(/Requests\/sec:\s+([\d.]+)/)),
    requests: Number(read(/(\d+) requests in/)),
    p50: milliseconds(read(/^\s+50%\s+(\S+)/m)),
    p99: milliseconds(read(/^\s+99%\s+(\S+)/m)),
  }
}

function run([command, ...args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    child.once('error', (error) => {
      const problem = error.code === 'ENOENT' ? `${command} is needed: apt-get install wrk util-linux` : error.message
      reject(new Error(problem))
    })
    child.once('exit', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`${command} ended with ${code}: ${text}`)),
    )
  })
}
