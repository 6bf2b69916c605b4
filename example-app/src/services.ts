/** What the app works with: where people sign in, which permissions there are, and the API behind them. */
import type { OAuth2ClientOptions } from 'fastify-oauth2client'
import { google as googleProvider } from 'fastify-oauth2client/providers'

/** Something of the person's that the app shows, and the permission that it takes. */
export interface Resource {
  readonly scope: string
  readonly url: string
}

/** The pages that take one more permission than signing in gives. */
export const RESOURCE_NAMES = ['files', 'calendar'] as const
export type ResourceName = (typeof RESOURCE_NAMES)[number]

export interface Service {
  readonly name: string
  /** The options of the plugin that say who we are, and to whom. */
  readonly client: Pick<OAuth2ClientOptions, 'provider' | 'clientId' | 'clientSecret' | 'clientSecretsFile'>
  /** The origin of the sign-in pages. */
  readonly origin: string
  readonly files: Resource
  readonly calendar: Resource
  /** Permissions in words. */
  readonly words: Readonly<Record<string, string>>
}

/** What a permission is used for: the page of the app that needs it. */
export function usesOf({ files, calendar }: Service): Readonly<Record<string, { path: string; name: string }>> {
  const profile = { path: '/profile', name: 'Profile' }
  return {
    openid: profile,
    email: profile,
    [files.scope]: { path: '/files', name: 'Files' },
    [calendar.scope]: { path: '/calendar', name: 'Calendar' },
  }
}

export const BASE_SCOPES = ['openid', 'email']

export const BASE_WORDS = {
  openid: 'Know who you are',
  email: 'See your e-mail address',
}

// The local authorization server has the same API under the same paths.
export const FILES_PATH = '/drive/v3/files'
export const CALENDAR_PATH = '/calendar/v3/calendars/primary/events'

/** Google itself, with the file that its console hands out for a "Web application". */
export function google(clientSecretsFile: string): Service {
  const files = 'https://www.googleapis.com/auth/drive.readonly'
  const calendar = 'https://www.googleapis.com/auth/calendar.readonly'
  return {
    name: 'Google',
    client: { provider: googleProvider(), clientSecretsFile },
    origin: 'https://accounts.google.com',
    files: { scope: files, url: `https://www.googleapis.com${FILES_PATH}` },
    calendar: { scope: calendar, url: `https://www.googleapis.com${CALENDAR_PATH}` },
    words: {
      ...BASE_WORDS,
      [files]: 'See the files in your Google Drive',
      [calendar]: 'See the events in your Google Calendar',
    },
  }
}
