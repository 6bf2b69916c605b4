/** Work that happens while nobody is looking: a queue or a timer would call this. There is no request and no session. */
import type { FastifyInstance } from 'fastify'
import { OAuth2ClientError } from 'fastify-oauth2client'

export type JobReport =
  | { readonly ok: true; readonly refreshed: boolean; readonly expiresAt?: number; readonly scopes: readonly string[] }
  | { readonly ok: false; readonly code: string; readonly message: string }

/**
 * Gets an access token for a user as any job would: the stored one, or a new one if that is about to expire.
 *
 * @param renew get a new one in any case, which is only good for showing that it works
 */
export async function refreshJob(app: FastifyInstance, userId: string, renew = false): Promise<JobReport> {
  try {
    const user = await app.oauth2.user(userId)
    const before = user.credentials?.accessToken
    const { token, expiresAt, scopes } = await user.getAccessToken(renew && before ? { rejected: before } : {})
    // With it, or with user.fetch(), the job would call the API now.
    return { ok: true, refreshed: token !== before, ...(expiresAt === undefined ? {} : { expiresAt }), scopes }
  } catch (error) {
    // Nobody is there to be redirected: a job notes that the person has to come back, or tries again later.
    if (error instanceof OAuth2ClientError) return { ok: false, code: error.code, message: error.message }
    throw error
  }
}
