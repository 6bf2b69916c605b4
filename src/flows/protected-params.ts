/** Parameters of an authorization request that only its flow sets. */

/** Parameters that belong to the flow; nobody else's value may take their place. */
export const PROTECTED_PARAMS: ReadonlySet<string> = new Set([
  'client_id',
  'client_secret',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'dpop_jkt',
  'nonce',
  'redirect_uri',
  'request',
  'request_uri',
  'response_mode',
  'response_type',
  'scope',
  'state',
])

const INSTEAD: Readonly<Record<string, string>> = {
  dpop_jkt: 'dpop',
  request: 'signedRequestObjects',
  request_uri: 'pushedAuthorizationRequests',
  response_mode: 'responseMode',
  scope: 'scopes',
}

/** Why a parameter may not be set, and what to write instead. */
export function mayNotSet(name: string): string {
  const instead = INSTEAD[name]
  return `may not set "${name}"${instead ? `: use the option "${instead}"` : ', which belongs to the flow'}.`
}
