/**
 * A real authorization server on this machine, with Google's habits and a small protected API, so that the app can be tried
 * without an account. It keeps everything in memory: after a restart it refuses what it handed out before, and the app
 * sends people to sign in again.
 */
import { join } from 'node:path'
import { google } from 'fastify-oauth2client/providers'
import {
  type AuthorizationServer,
  startAuthorizationServer as start,
  type TestUser,
} from 'fastify-oauth2client/testing'
import { secretFile } from './secrets.js'
import { BASE_WORDS, CALENDAR_PATH, FILES_PATH, type Service } from './services.js'

const FILES = 'files.read'
const CALENDAR = 'calendar.read'
const WORDS = { [FILES]: 'See the names of your files', [CALENDAR]: 'See the events in your calendar' }

const DAY = 86_400_000

export async function startAuthorizationServer({
  port,
  dataDir,
}: {
  /** 0 for any free port. */
  port: number
  /** The client secret is kept there: the server should know the app again after a restart. */
  dataDir: string
}): Promise<{ server: AuthorizationServer; service: Service }> {
  const server = await start({
    port,
    clients: [{ clientId: 'Example app', clientSecret: await secretFile(join(dataDir, 'client-secret')) }],
    scopes: {
      [FILES]: { description: WORDS[FILES] as string },
      [CALENDAR]: { description: WORDS[CALENDAR] as string },
    },
    // Short, so that refreshing can be watched. Google's last an hour.
    accessTokenLifetime: 300,
    api: {
      [FILES_PATH]: { scope: FILES, body: files },
      [CALENDAR_PATH]: { scope: CALENDAR, body: events },
    },
  })
  const { issuer, clientId, clientSecret } = server
  return {
    server,
    service: {
      name: 'the local authorization server',
      client: { provider: google({ issuer }), clientId, clientSecret },
      origin: issuer,
      files: { scope: FILES, url: issuer + FILES_PATH },
      calendar: { scope: CALENDAR, url: issuer + CALENDAR_PATH },
      words: { ...BASE_WORDS, ...WORDS },
    },
  }
}

function files({ name }: TestUser) {
  return {
    files: [
      { id: '1', name: `Letter from ${name}.txt`, modifiedTime: daysFromNow(-1) },
      { id: '2', name: 'Travel plans.ods', modifiedTime: daysFromNow(-6) },
      { id: '3', name: 'Garden.jpg', modifiedTime: daysFromNow(-40) },
    ],
  }
}

function events({ name }: TestUser) {
  return {
    items: [
      { id: '1', summary: 'Dentist', start: { dateTime: daysFromNow(1) } },
      { id: '2', summary: `Lunch with ${name}'s sister`, start: { dateTime: daysFromNow(3) } },
      { id: '3', summary: 'Day off', start: { date: daysFromNow(9).slice(0, 10) } },
    ],
  }
}

function daysFromNow(days: number): string {
  return new Date(Date.now() + days * DAY).toISOString()
}
