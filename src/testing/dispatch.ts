/** One request to an app that need not listen. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'

export interface Dispatched {
  readonly statusCode: number
  readonly body: string
  /** As they were sent. */
  readonly setCookies: readonly string[]
}

/** By `app.inject`; over a socket under Jest, which cannot load that: its `require` knows no ES modules. */
export async function dispatch(
  app: FastifyInstance,
  url: string,
  headers: Record<string, string>,
): Promise<Dispatched> {
  try {
    const { statusCode, body, headers: answered } = await app.inject({ method: 'GET', url, headers })
    return { statusCode, body, setCookies: [answered['set-cookie'] ?? []].flat() }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_REQUIRE_ESM') throw error
    return overSocket(app, url, headers)
  }
}

async function overSocket(app: FastifyInstance, path: string, headers: Record<string, string>): Promise<Dispatched> {
  const server = createServer((req, res) => app.routing(req, res)).listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const options = { host: '127.0.0.1', port, path, headers: { host: 'localhost', ...headers }, agent: false }
    const [response] = (await once(request(options).end(), 'response')) as [IncomingMessage]
    const { statusCode = 0, headers: answered } = response
    return { statusCode, body: await text(response), setCookies: answered['set-cookie'] ?? [] }
  } finally {
    server.close()
  }
}
