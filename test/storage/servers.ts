import { once } from 'node:events'
import { connect } from 'node:net'
import { describe } from 'vitest'

/**
 * `describe` for tests that need a server. Where it does not run, they are left out with one line on the console; with
 * `CI` set they fail instead, because there it should.
 */
export async function describeWith(variable: string, fallback: string) {
  const url = process.env[variable] ?? fallback
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), timeout: 2000 })
  try {
    socket.once('timeout', () => socket.destroy(new Error('timed out')))
    await once(socket, 'connect')
  } catch (cause) {
    const problem = `No server at ${hostname}:${port}; set ${variable} to the URL of one.`
    if (process.env.CI) throw new Error(problem, { cause })
    console.warn(`${problem} Its tests are left out.`)
    return { url, describe: describe.skip }
  } finally {
    socket.destroy()
  }
  return { url, describe }
}
