/** What has to be done once a day: records move to a new key, and revocations that failed are tried again. */
import { buildApp } from './app.js'

const app = await buildApp()
await app.ready()
app.log.info(await app.oauth2.sweep(), 'swept')
await app.close()
