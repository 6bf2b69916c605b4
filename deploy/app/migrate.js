/** Makes the tables that are missing; to be run before the first process of a new version. */
import { createCredentialTables } from 'fastify-oauth2client/storage/sql'
import { openDatabase } from './shared.js'

const db = openDatabase()
await createCredentialTables(db)
await db.destroy()
