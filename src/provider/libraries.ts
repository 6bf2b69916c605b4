/**
 * The libraries that only asynchronous code needs. They take longer to load than all of ours, so it is not the import of this
 * package that loads them: the plugin does before it is ready, and everything else with its first use.
 */
import type * as Jose from 'jose'
import type * as OpenIdClient from 'openid-client'

export type { Jose, OpenIdClient }

// Importing what is loaded already still asks the module loader.
let loadedClient: typeof OpenIdClient | undefined
let loadedJose: typeof Jose | undefined

/** OAuth and OpenID Connect. */
export function openidClient(): typeof OpenIdClient | Promise<typeof OpenIdClient> {
  return loadedClient ?? importClient()
}

/** Keys and signatures. */
export function jose(): typeof Jose | Promise<typeof Jose> {
  return loadedJose ?? importJose()
}

/** Loads all of them, so that nobody waits for it later. */
export async function loadLibraries(): Promise<void> {
  await Promise.all([openidClient(), jose()])
}

async function importClient(): Promise<typeof OpenIdClient> {
  loadedClient = await import('openid-client')
  return loadedClient
}

async function importJose(): Promise<typeof Jose> {
  loadedJose = await import('jose')
  return loadedJose
}
