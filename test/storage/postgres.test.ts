import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { describeWith } from './servers.js'
import { testServer } from './sql-tables.js'

const server = await describeWith('TEST_POSTGRES_URL', 'postgres://postgres@127.0.0.1:5432/test')

testServer('PostgreSQL', server, (max) => {
  return new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: server.url, max }) }) })
})
