// A worker without Fastify over the store of a web app. Plain JavaScript, started by manager.test.ts.
import { createRequire, register } from 'node:module'
import { pathToFileURL } from 'node:url'

// In here, the web does not exist.
const refuse = `export async function resolve(specifier, context, next) {
  if (/^(fastify|fastify-plugin|@fastify\\/(?!error$).*)$/.test(specifier)) throw new Error('the worker loads ' + specifier)
  return next(specifier, context)
}`
register(`data:text/javascript,${encodeURIComponent(refuse)}`)

const [folder, task] = process.argv.slice(2)
const { path, options } = JSON.parse(task)
const load = (name) => import(pathToFileURL(`${folder}/src/${name}.js`).href)
const { CredentialManager, Credentials } = await load('credentials/index')
const [{ sqlStore }, { openSqlite }] = [await load('storage/sql'), await load('storage/sqlite')]

const store = sqlStore({ db: await openSqlite({ path }), closeDb: true })
const manager = new CredentialManager({ ...options, storage: store })

const commands = {
  async loaded() {
    const web = /node_modules\/(fastify|fastify-plugin|@fastify\/(?!error\/)[^/]+)\//
    return Object.keys(createRequire(import.meta.url).cache).filter((file) => web.test(file))
  },
  async fetch({ user, url }) {
    const response = await (await manager.user(user)).fetch(url)
    return { status: response.status, body: await response.json() }
  },
  async refresh({ user, rejected }) {
    const stored = await manager.user(user)
    const answer = stored.getAccessToken({ rejected })
    process.send({ asked: true })
    return (await answer).token
  },
  async adopt({ user, accessToken }) {
    await (await manager.user(user)).adopt(Credentials.fromAccessToken(accessToken, { userId: `sub-${user}` }))
  },
  async revoke({ user }) {
    return (await manager.user(user)).revoke()
  },
  async close() {
    await manager.close()
    await store.close()
  },
}

process.on('message', async ({ name, ...rest }) => {
  try {
    process.send({ result: (await commands[name](rest)) ?? null })
  } catch (error) {
    process.send({ error: `${error.code} ${error.message}` })
  }
  if (name === 'close') process.disconnect()
})
process.on('disconnect', () => process.exit())
process.send({ result: 'ready' })
