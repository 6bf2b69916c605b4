/**
 * Google's ways to get a token without a person in front, and our credentials in Google's API clients.
 *
 * @module
 */
export {
  type ApplicationDefaultOptions,
  applicationDefaultCredentials,
} from './application-default.js'
export type { GoogleCredentials, GoogleCredentialsOptions } from './credentials.js'
export {
  type ServiceAccountCredentials,
  type ServiceAccountOptions,
  type Signature,
  serviceAccountCredentials,
} from './service-account.js'
export {
  type GoogleAuthClient,
  type GoogleAuthMethods,
  type ToGoogleAuthOptions,
  toGoogleAuth,
} from './to-google-auth.js'
export { type AuthorizedUserClient, wellKnownFile, writeAuthorizedUserFile } from './well-known-file.js'
