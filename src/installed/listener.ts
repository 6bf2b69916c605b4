/** A small HTTP server on this machine that goes away without a trace. Called by `loopback`. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { LoopbackUnavailableError } from '../errors.js'

export interface Listener {
  readonly port: number
  /** Lets answers under way out, then ends everything. */
  close(): Promise<void>
}

/** Milliseconds that a browser has to take an answer when the listener closes. */
const LAST_ANSWER = 1_000
/** How often another free port is tried where one address has it and the other has not. */
const ATTEMPTS = 10

/**
 * @param addresses the first one must work; the others only where the machine has them
 * @param ports tried in that order
 * @throws {LoopbackUnavailableError} when none of the ports is free
 */
export async function listen(
  addresses: readonly string[],
  ports: readonly number[],
  handler: RequestListener,
): Promise<Listener> {
  let reason = ''
  for (const port of ports) {
    for (let attempt = port === 0 ? ATTEMPTS : 1; attempt > 0; attempt--) {
      const servers: Server[] = []
      try {
        return await listenOnAll(addresses, port, handler, servers)
      } catch (error) {
        await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
        reason = (error as NodeJS.ErrnoException).code ?? 'unknown'
      }
    }
  }
  const wanted = ports.map((port) => (port === 0 ? 'any free port' : `port ${port}`)).join(', ')
  throw new LoopbackUnavailableError(`${wanted} on ${addresses[0]} (${reason})`)
}

async function listenOnAll(
  addresses: readonly string[],
  wanted: number,
  handler: RequestListener,
  servers: Server[],
): Promise<Listener> {
  const sockets = new Set<Socket>()
  const answering = new Set<Socket>()
  let port = wanted
  for (const [index, host] of addresses.entries()) {
    const server = createServer((req, res) => {
      answering.add(req.socket)
      res.once('close', () => answering.delete(req.socket))
      res.setHeader('connection', 'close')
      handler(req, res)
    })
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    try {
      // Exclusive, so that the workers of a cluster do not share it.
      server.listen({ host, port, exclusive: true })
      await once(server, 'listening')
    } catch (error) {
      // A machine without IPv6 has nobody who would come that way.
      if (index > 0 && NO_SUCH_ADDRESS.has(String((error as NodeJS.ErrnoException).code))) continue
      throw error
    }
    servers.push(server)
    port = (server.address() as AddressInfo).port
  }
  return {
    port,
    async close() {
      const closed = Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
      // Browsers open connections ahead of time and keep them.
      for (const socket of sockets) if (!answering.has(socket)) socket.destroy()
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
      }, LAST_ANSWER)
      await closed
      clearTimeout(timer)
    },
  }
}

const NO_SUCH_ADDRESS = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'])
