/** What all processes have in common: secrets, PostgreSQL for credentials, Redis for sessions. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'

const { SECRETS = '/run/secrets', REDIS_URL } = process.env

export const secret = (name) => readFileSync(join(SECRETS, name), 'utf8').trim()

/** pg takes host, user and name from PGHOST, PGUSER and PGDATABASE. */
export function openDatabase() {
  const times = { connectionTimeoutMillis: 5_000, statement_timeout: 5_000 }
  const pool = new pg.Pool({ password: secret('postgres-password'), ...times })
  // A connection that breaks gets replaced, whether it is idle or lent out; without listeners it would end the process.
  const log = (error) => console.error(error.message)
  pool.on('error', log)
  pool.on('connect', (client) => client.on('error', log))
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

export function openRedis() {
  // While Redis is away, requests fail soon in place of waiting for it.
  const redis = new Redis(REDIS_URL, { maxRetriesPerRequest: 1, commandTimeout: 5_000 })
  redis.on('error', (error) => console.error(error.message))
  return redis
}

/** A store of @fastify/session. There are no tokens in a session, only a link to the stored credentials. */
export function redisSessions(redis, lifetime) {
  const answer = (work, callback) => void work.then((result) => callback(null, result), callback)
  const key = (id) => `session:${id}`
  return {
    get: (id, callback) => answer(redis.get(key(id)).then(JSON.parse), callback),
    set: (id, session, callback) => answer(redis.set(key(id), JSON.stringify(session), 'PX', lifetime), callback),
    destroy: (id, callback) => answer(redis.del(key(id)), callback),
  }
}
