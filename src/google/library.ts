/** `google-auth-library`, an optional peer: whoever lacks it gets an error only when it is used. */
import { createRequire } from 'node:module'
import { MissingPeerError } from '../errors.js'

export type GoogleAuthLibrary = typeof import('google-auth-library')

const NAME = 'google-auth-library'

export async function importLibrary(): Promise<GoogleAuthLibrary> {
  try {
    return await import('google-auth-library')
  } catch (cause) {
    throw missing(cause)
  }
}

/** The same at once, for what has to be there when a constructor returns. */
export function requireLibrary(): GoogleAuthLibrary {
  try {
    return createRequire(import.meta.url)(NAME)
  } catch (cause) {
    throw missing(cause)
  }
}

function missing(cause: unknown): unknown {
  const { code } = cause as { code?: unknown }
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    ? new MissingPeerError(NAME, NAME, { cause })
    : cause
}
