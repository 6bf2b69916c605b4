import type * as OidcProvider from 'oidc-provider'

/** How people sign in at the test server: whichever way they are asked to, of those that it was told of. */

/** The first class of authentication of a request that the server knows. */
export function acrFor(requested: unknown, known: readonly string[]): string | undefined {
  const values = typeof requested === 'string' ? requested.split(' ') : []
  return values.find((value) => known.includes(value))
}

/** Has whoever signed in otherwise sign in again. Left alone, `oidc-provider` takes `acr_values` for no more than a wish. */
export function acrCheck({ Check }: typeof OidcProvider.interactionPolicy, known: readonly string[]) {
  return new Check('acr_values', 'the person signed in by another class of authentication', ({ oidc }) => {
    const wanted = acrFor(oidc.params?.acr_values, known) !== undefined
    const met = String(oidc.params?.acr_values).split(' ').includes(String(oidc.acr))
    return wanted && !met ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT
  })
}
