export {
  type ApiRequest,
  type AuthorizationServer,
  type AuthorizationServerOptions,
  type AutoApprove,
  type EndpointFault,
  type Faults,
  startAuthorizationServer,
  type TestApiRoute,
  type TestClient,
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
