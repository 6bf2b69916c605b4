// The floor of any guard that asks a store: one value from the session, and one read of the row that it names, written by hand.
import { freshName, postgres, redis } from '../lib/credential-stores.mjs'
import { fastifyApp, listen } from '../lib/serving.mjs'

/** As long as a sealed record. */
const VALUE = 'v'.repeat(1_500)

const readers = {
  async postgres() {
    const { pool } = await postgres()
    const table = freshName()
    await pool.query(`create table ${table} (id text primary key, value text not null, generation bigint not null)`)
    await pool.query(`insert into ${table} values ('user-1', $1, 1)`, [VALUE])
    const text = `select value, generation from ${table} where id = $1`
    return {
      read: async (user) => (await pool.query(text, [user])).rows[0],
      end: () => pool.query(`drop table ${table}`),
    }
  },
  async redis() {
    const client = await redis()
    const prefix = freshName()
    await client.hset(`${prefix}:user-1`, { value: VALUE, generation: 1 })
    return {
      async read(user) {
        const [value, generation] = await client.hmget(`${prefix}:${user}`, 'value', 'generation')
        return value === null ? undefined : { value, generation }
      },
      end: () => client.unlink(`${prefix}:user-1`),
    }
  },
}

/** @param options.store which one */
export async function start({ sessions = 'session', store }) {
  const server = await fastifyApp(sessions)
  const { read, end } = await readers[store]()
  server.app.get('/login', async (request) => {
    request.session.set('user', 'user-1')
    return 'signed in'
  })
  server.app.get('/guarded', async (request, reply) => {
    const user = request.session.get('user')
    const row = user === undefined ? undefined : await read(user)
    return row ? { user } : reply.code(401).send({})
  })
  return listen(server, { commands: { end } })
}
