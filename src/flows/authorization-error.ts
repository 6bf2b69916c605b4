/** What an error in an authorization response means for us. */
import {
  AccessDeniedError,
  AuthorizationFailedError,
  ClientRejectedError,
  ExchangeFailedError,
  type OAuth2ClientError,
  ProviderUnavailableError,
} from '../errors.js'

/** Seconds after which a provider that is busy may be asked again. */
const RETRY_AFTER = 5

/** Error codes of RFC 6749 section 4.1.2.1 and OpenID Connect Core section 3.1.2.6. What was described with them is dropped. */
export function authorizationError(code: string): OAuth2ClientError {
  switch (code) {
    case 'access_denied':
    case 'consent_required':
    case 'login_required':
    case 'interaction_required':
    case 'account_selection_required':
      return new AccessDeniedError()
    case 'temporarily_unavailable': {
      const error = new ProviderUnavailableError()
      error.headers = { 'retry-after': String(RETRY_AFTER) }
      return error
    }
    case 'server_error':
      return new ExchangeFailedError()
    case 'invalid_scope':
    case 'invalid_request':
    case 'unauthorized_client':
    case 'unsupported_response_type':
      // The code is one of a closed list, so it can be named to whoever reads the log.
      return new ClientRejectedError({ cause: new Error(`the authorization endpoint answered ${code}`) })
    default:
      return new AuthorizationFailedError()
  }
}
