/** Which clients an app has. On its own, for what is about an app but does not need the plugin: tests. */
import type { FastifyInstance } from 'fastify'
import type { Client } from './client.js'

const clients = new WeakMap<object, Set<Client>>()

/** Notes that a client belongs to an app, in whatever context it is registered. */
export function addClient({ server }: FastifyInstance, client: Client): void {
  const known = clients.get(server) ?? new Set()
  clients.set(server, known.add(client))
}

/** Every client of an app, seen from any of its contexts. */
export function clientsOf({ server }: FastifyInstance): Iterable<Client> {
  return clients.get(server) ?? []
}
