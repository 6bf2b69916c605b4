/** Fastify's types for whatever server, logger, type provider and route there is: `any` is the only form that fits them all. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyInstance = FastifyInstance<any, any, any, any, any>
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyRequest = FastifyRequest<any, any, any, any, any, any, any>
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyReply = FastifyReply<any, any, any, any, any, any, any>
