/**
 * For tests: an authorization server with faults, people who are signed in, and the suite that stores pass.
 *
 * @module
 */
export {
  type ApiRequest,
  type AuthorizationFault,
  type AuthorizationServer,
  type AuthorizationServerOptions,
  type AutoApprove,
  type EndpointFault,
  type Faults,
  type IdTokenFault,
  type IssuedTokens,
  type Next,
  startAuthorizationServer,
  type TestApiRoute,
  type TestClient,
  type TestGrant,
  type TestScope,
  type TestUser,
  type TokenFault,
  type TokenRequest,
  type TokenTweak,
} from './authorization-server.js'
export {
  type CredentialStoreContractOptions,
  type CredentialStoreSubject,
  credentialStoreContract,
} from './credential-store-contract.js'
export { type FakeClock, fakeClock } from './fake-clock.js'
export { type SignedIn, type SignInOptions, signIn } from './sign-in.js'
