/** Starts the example app. Settings come from the environment: PORT, DATA, CLIENT_SECRETS, LOG_LEVEL. */
import { fileURLToPath } from 'node:url'
import { buildApp } from './app.js'
import { startAuthorizationServer } from './authorization-server.js'
import { google, type Service } from './services.js'

const { PORT = '3000', DATA, CLIENT_SECRETS, LOG_LEVEL = 'warn' } = process.env
const port = Number(PORT)
const dataDir = DATA || fileURLToPath(new URL('../data', import.meta.url))

async function start(): Promise<void> {
  if (!Number.isInteger(port) || port < 1 || port > 65534) {
    throw new Error(`PORT must be a number from 1 to 65534, and is "${PORT}".`)
  }
  let service: Service
  let stopServer = async () => {}
  let hint = 'any user name will do, and the password is "password"'
  if (CLIENT_SECRETS) {
    service = google(CLIENT_SECRETS)
    hint = 'sign in with your Google account'
  } else {
    const local = await startAuthorizationServer({ port: port + 1, dataDir })
    service = local.service
    stopServer = () => local.server.close()
  }

  const baseUrl = `http://localhost:${port}`
  const app = await buildApp({ service, dataDir, baseUrl, logger: { level: LOG_LEVEL } })
  await app.listen({ host: 'localhost', port })
  console.log(`Open ${baseUrl} (${hint})`)

  const stop = async () => {
    await app.close()
    await stopServer()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
}

function explain(error: unknown): string {
  const { code, port: taken } = error as { code?: unknown; port?: unknown }
  if (code === 'EADDRINUSE') {
    const other = port < 60_000 ? port + 100 : 3000
    return `Port ${taken} is in use. Choose another one, for example: PORT=${other} npm start`
  }
  return error instanceof Error ? error.message : String(error)
}

start().catch((error: unknown) => {
  console.error(explain(error))
  process.exit(1)
})
