import { Kysely, MysqlDialect } from 'kysely'
import { createPool } from 'mysql2'
import { describeWith } from './servers.js'
import { testServer } from './sql-tables.js'

const server = await describeWith('TEST_MYSQL_URL', 'mysql://root@127.0.0.1:3306/test')

testServer('MySQL or MariaDB', server, (connectionLimit) => {
  return new Kysely({ dialect: new MysqlDialect({ pool: createPool({ uri: server.url, connectionLimit }) }) })
})
