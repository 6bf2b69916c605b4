import type * as OidcProvider from 'oidc-provider'

/** Finds `oidc-provider`, which only tests need and which is therefore no dependency of the package. */

let loading: Promise<typeof OidcProvider> | undefined

export function loadOidcProvider(): Promise<typeof OidcProvider> {
  loading ??= load().catch((error: unknown) => {
    loading = undefined
    throw error
  })
  return loading
}

async function load(): Promise<typeof OidcProvider> {
  // It complains about Node.js 20 when it is imported, though everything used here works there: without this, every
  // test file would print the notice.
  const { warn } = console
  const quiet = (...args: unknown[]) => {
    if (!String(args[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn.apply(console, args)
  }
  console.warn = quiet
  try {
    return await import('oidc-provider')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error('The test authorization server needs oidc-provider: npm install oidc-provider --save-dev', {
      cause: error,
    })
  } finally {
    if (console.warn === quiet) console.warn = warn
  }
}
