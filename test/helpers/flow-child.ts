// Finishes in a process of its own what another one began. Arguments: the folder of the sources, the task as JSON.
import {
  authorizationCodeGrant,
  DeviceAuthorization,
  deviceAuthorizationGrant,
  Provider,
} from '../../src/flows/index.js'

export interface FlowTask {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** What was remembered, and the callback; or the text of a device authorization. */
  readonly request?: string
  readonly callback?: string
  readonly device?: string
}

const { issuer, clientId, clientSecret, request, callback, device } = JSON.parse(process.argv[3] as string) as FlowTask
const provider = new Provider({ provider: { issuer }, clientId, clientSecret })
const tokens =
  request === undefined
    ? await deviceAuthorizationGrant(provider, DeviceAuthorization.fromJSON(device as string), {
        sleep: async () => {},
      })
    : await authorizationCodeGrant(provider, JSON.parse(request), callback as string)
console.log(JSON.stringify(tokens))
