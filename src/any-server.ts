/** Fastify's types for whatever server, logger, type provider and route there is. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

// biome-ignore lint/suspicious/noExplicitAny: the only form that fits all
export type AnyInstance = FastifyInstance<any, any, any, any, any>

// Members that are the same everywhere. With `any` for the others, TypeScript would take that for the types of the route's schema.
export type AnyRequest = Pick<FastifyRequest, 'method' | 'originalUrl' | 'is404'>
export type AnyReply = Pick<FastifyReply, 'sent' | 'statusCode'>
