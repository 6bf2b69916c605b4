/** One process of the app. Settings come from the environment, secrets from files: compose.yaml has all of them. */
import { buildApp } from './app.js'

const { HOST = '0.0.0.0', PORT = '3000' } = process.env

const app = await buildApp()
await app.listen({ host: HOST, port: Number(PORT) })

// Requests and refreshes that are under way are finished; when nothing is left to do, the process ends.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
