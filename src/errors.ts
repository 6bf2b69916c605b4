/**
 * The catalogue of everything that can go wrong, one class for each decision that a caller can make.
 *
 * Fastify's default error handler sends `message` to whoever asked, so no message here ever holds a token, a code, a
 * verifier, a secret, a state or anything that a provider said beyond its registered error codes.
 */
import createError from '@fastify/error'

/**
 * The base of every error that this package throws. `code` is stable and documented; `statusCode` is what the request
 * is answered with when nobody handles it.
 *
 * @example
 * ```ts
 * import { OAuth2ClientError } from 'fastify-oauth2client'
 *
 * function explain(error: unknown): string {
 *   return error instanceof OAuth2ClientError ? error.code : 'unexpected'
 * }
 * ```
 */
export class OAuth2ClientError extends Error {
  declare readonly code: string
  declare readonly statusCode: number
  /** Response headers that belong to the answer, such as `WWW-Authenticate` and `Retry-After`. Fastify sends them. */
  declare headers?: Record<string, string>
  /** Members added to the JSON body of the answer, such as `missingScopes`. */
  declare details?: Record<string, unknown>
}

/** An error class whose constructor takes what its message names, and optionally `{ cause }`. */
export type ErrorClass<Code extends string, Args extends unknown[] = []> = new (
  ...args: [...Args, { cause?: unknown }?]
) => OAuth2ClientError & { readonly code: `FST_OAUTH2_${Code}` }

/* @__NO_SIDE_EFFECTS__ */
const define = <Code extends string, Args extends unknown[] = []>(
  code: Code,
  statusCode: number,
  message: string,
  base: unknown = OAuth2ClientError,
): ErrorClass<Code, Args> =>
  createError(`FST_OAUTH2_${code}`, message, statusCode, base as ErrorConstructor) as unknown as ErrorClass<Code, Args>

// Set-up: thrown at registration, or when a guard is made.

/** An option is missing, unknown or makes no sense. The message names it and says what to write. */
export const OptionError = define<'OPTION_INVALID', [option: string, problem: string]>(
  'OPTION_INVALID',
  500,
  'Option "%s": %s',
)
/** The client secrets file cannot be read, is not JSON, or lacks a member. */
export const ClientSecretsError = define<'CLIENT_SECRETS_INVALID', [problem: string]>(
  'CLIENT_SECRETS_INVALID',
  500,
  'Client secrets: %s',
)
/** A package that a chosen feature needs is not installed. */
export const MissingPeerError = define<'PEER_MISSING', [name: string, name: string]>(
  'PEER_MISSING',
  500,
  'The package "%s" is needed for this and is not installed. Run: npm install %s',
)
/** A guard, or a route's `config.oauth2`, names a client that is not registered where the route is declared. */
export const NotRegisteredError = define<'NOT_REGISTERED', [name: string]>(
  'NOT_REGISTERED',
  500,
  'No OAuth client named "%s" is registered in this context. Register fastify-oauth2client under that name here or in a parent.',
)
/** `request.oauth2` was used on a route without a guard, before `await request.oauth2.load()`. */
export const NotLoadedError = define<'NOT_LOADED', [name: string]>(
  'NOT_LOADED',
  500,
  'request.%s is not loaded. Put requireOAuth() or oauthAware() on the route, or call await load() first.',
)
/** There is no usable session on the request. */
export const SessionRequiredError = define<'SESSION_REQUIRED', [problem: string]>(
  'SESSION_REQUIRED',
  500,
  'No session: %s',
)
/** The session cookie could never come back with the callback as it is configured. */
export const SessionCookieError = define<'SESSION_COOKIE_UNUSABLE', [problem: string]>(
  'SESSION_COOKIE_UNUSABLE',
  500,
  'Session cookie: %s',
)
/** `storage: 'session'` over a cookie session, and the credentials do not fit into a cookie. */
export const SessionTooLargeError = define(
  'SESSION_TOO_LARGE',
  500,
  'The credentials do not fit into the session cookie (4096 bytes). Keep them in a store: storage: sqlStore(...), redisStore(...) or memoryStore(), or use @fastify/session.',
)
/** `user(key)` and other uses outside a request need a store; a session is only there while its request is. */
export const StoreRequiredError = define(
  'STORE_REQUIRED',
  500,
  'Credentials kept in the session cannot be used outside a request. Set the option "storage" to a credential store.',
)
/** The provider's own metadata is wrong, or does not belong to the configured issuer. */
export const ProviderMetadataError = define<'PROVIDER_METADATA', [problem: string]>(
  'PROVIDER_METADATA',
  500,
  'Provider metadata: %s',
)
/** Stored credentials were sealed with keys that are not in the ring any more: they could not be read. */
export const KeyInUseError = define<'KEY_IN_USE', [kids: string, record: string]>(
  'KEY_IN_USE',
  500,
  'Stored credentials were sealed with keys that are not in encryptionKeys: %s. Put them back at the end of encryptionKeys until nothing uses them. If a key is lost for good, delete "%s" from the store to start without what it sealed.',
)

/** Google credentials (a key file, application default credentials) cannot be found, read or used. */
export const GoogleCredentialsError = define<'GOOGLE_CREDENTIALS', [problem: string]>(
  'GOOGLE_CREDENTIALS',
  500,
  'Google credentials: %s',
)

// Answers of guards.

/** Nobody is signed in, or what is stored can no longer be used. RFC 6750 section 3. */
export const CredentialsRequiredError = define('CREDENTIALS_REQUIRED', 401, 'Authorization is required.')
/** The app's own user is not signed in: `userKey` returned nothing. */
export const UserRequiredError = define('USER_REQUIRED', 401, 'Sign in to this application first.')
/** Scopes that the route needs have not been granted. RFC 6750 section 3.1. */
export const InsufficientScopeError = define(
  'INSUFFICIENT_SCOPE',
  403,
  'More permissions are needed than have been granted.',
)
/**
 * The person has to sign in more recently, or in another way: a guard says so, or an API. RFC 9470. What is needed is also in
 * the JSON body of the answer.
 *
 * @example
 * ```ts
 * import { StepUpRequiredError } from 'fastify-oauth2client'
 *
 * function neededClasses(error: unknown): readonly string[] {
 *   return error instanceof StepUpRequiredError ? (error.acrValues ?? []) : []
 * }
 * ```
 */
export class StepUpRequiredError extends define(
  'STEP_UP_REQUIRED',
  401,
  'A more recent or a stronger sign-in is needed.',
) {
  /** Classes of authentication, of which one is needed, the preferred one first. */
  readonly acrValues: readonly string[] | undefined
  /** Seconds that may have passed since the person signed in. */
  readonly maxAge: number | undefined

  constructor(
    needed: { readonly acrValues?: readonly string[] | undefined; readonly maxAge?: number | undefined } = {},
  ) {
    super()
    const { acrValues, maxAge } = needed
    this.acrValues = acrValues
    this.maxAge = maxAge
    this.details = { ...(acrValues && { acrValues }), ...(maxAge !== undefined && { maxAge }) }
  }
}

/** The person was asked to sign in again, and that was not what is needed. */
export const StepUpFailedError = define(
  'STEP_UP_FAILED',
  403,
  'A more recent or a stronger sign-in is needed than the one that was just made.',
)
/** The person was asked for a scope that the route needs and said no. */
export const ScopeDeclinedError = define(
  'SCOPE_DECLINED',
  403,
  'This page needs a permission that was declined when it was asked for.',
)
/** An authorization for the same scopes ended moments ago and changed nothing; asking again would be a loop. */
export const AuthorizationLoopError = define(
  'AUTHORIZATION_LOOP',
  403,
  'Authorization was completed a moment ago but had no effect: the session did not come back, or the access expired at once.',
)
/** Somebody else than expected signed in at the provider. Nothing was stored, nothing was revoked. */
export const AccountMismatchError = define(
  'ACCOUNT_MISMATCH',
  403,
  'Another account was used than the one that is connected. Nothing was changed.',
)
/**
 * With `userKey`: an account that is new to this user, from a flow that another site may have begun. Nothing is stored before
 * the person confirms it: `details` has `account`, and `confirmUrl` and `_csrf` for the form that does.
 */
export const ConfirmationRequiredError = define(
  'CONFIRMATION_REQUIRED',
  403,
  'Another site may have sent you here, so nothing is connected yet. Go on only if the account is yours and you want it connected.',
)
/** The provider cannot be reached or is failing. What is stored is kept. */
export const ProviderUnavailableError = define(
  'PROVIDER_UNAVAILABLE',
  503,
  'The authorization server cannot be reached at the moment. Try again shortly.',
)
/** The credential store cannot be reached. */
export const StoreUnavailableError = define(
  'STORE_UNAVAILABLE',
  503,
  'Stored credentials cannot be reached at the moment. Try again shortly.',
)
/** A `StoreUnavailableError` of `keyringStore`: there is no keyring, or it stays locked. What the system said is its cause. */
export const KeyringUnavailableError = define(
  'KEYRING_UNAVAILABLE',
  503,
  'The keyring of this system cannot be reached, or is locked. Where there is none, as on servers and in containers, keep credentials in a file: fileStore({ path }) of fastify-oauth2client/storage/file.',
  StoreUnavailableError,
)
/** Why a stored record cannot be read. Each has its own way on; docs/errors.md has a paragraph about each. */
export type UnreadableReason = 'unknown_key' | 'misplaced' | 'damaged' | 'newer_version'

/**
 * A stored record cannot be opened; `reason` says why, also in the JSON body of the answer. It is kept as it is.
 *
 * @example
 * ```ts
 * import { CredentialsUnreadableError } from 'fastify-oauth2client'
 *
 * function missingKey(error: unknown): string | undefined {
 *   const unreadable = error instanceof CredentialsUnreadableError
 *   return unreadable && error.reason === 'unknown_key' ? error.kid : undefined
 * }
 * ```
 */
export class CredentialsUnreadableError extends define<'CREDENTIALS_UNREADABLE', [problem: string]>(
  'CREDENTIALS_UNREADABLE',
  503,
  'Stored credentials cannot be read: %s They are kept as they are.',
) {
  readonly reason: UnreadableReason
  /** The id of the key that the record was sealed with, where that is known. It is no secret. */
  readonly kid: string | undefined

  constructor(reason: UnreadableReason, options: { readonly cause?: unknown; readonly kid?: string | undefined } = {}) {
    const { cause, kid } = options
    super(describeUnreadable(reason, kid), cause === undefined ? undefined : { cause })
    this.reason = reason
    this.kid = kid
    this.details = { reason }
  }
}

function describeUnreadable(reason: UnreadableReason, kid = 'of an unknown name'): string {
  switch (reason) {
    case 'unknown_key':
      return `the key ${kid} that sealed them is not in encryptionKeys. Put the key back at the end of encryptionKeys.`
    case 'misplaced':
      return 'they were sealed for another place and copied here. Put back what belongs here, or delete this record.'
    case 'newer_version':
      return 'a newer version of fastify-oauth2client wrote them. Upgrade this process.'
    default:
      return 'they were altered or cut off, or something else wrote them. Restore the record from a copy, or delete it.'
  }
}

/** A stored record belongs to another client or issuer than the configured one. Nothing was sent. */
export const ClientMismatchError = define(
  'CLIENT_MISMATCH',
  503,
  'Stored credentials belong to another client or issuer than the one that is configured. Nothing was sent and nothing was changed.',
)

// Answers of the authorize, callback and logout routes.

/** `scope` asks for something that no option and no guard declares. */
export const ScopeNotDeclaredError = define(
  'SCOPE_NOT_DECLARED',
  400,
  'A scope was asked for that this application does not declare.',
)
/** A `ticket` that is not ours, was altered, or is too old. */
export const TicketInvalidError = define('TICKET_INVALID', 400, 'This link has expired. Go back and try again.')
/** The authorize route was loaded by something else than a person's navigation. */
export const NavigationRequiredError = define(
  'NAVIGATION_REQUIRED',
  403,
  'Authorization starts with a navigation of the browser, not with a request of a script, an image or a prefetch.',
)
/** The callback does not answer an authorization request of this browser. */
export const StateInvalidError = define(
  'STATE_INVALID',
  400,
  'This does not answer an authorization request of this browser, or took too long. Start again.',
)
/** A provider's answer that came in a form is larger than what can be kept while the browser comes back with its session. */
export const AnswerTooLargeError = define(
  'ANSWER_TOO_LARGE',
  413,
  'The answer of the authorization server is too large for this application.',
)
/** The person refused. Existing credentials stay. RFC 6749 section 4.1.2.1. */
export const AccessDeniedError = define('ACCESS_DENIED', 403, 'Access was not granted.')
/** The provider answered with an error that the person cannot cure by saying yes. */
export const AuthorizationFailedError = define(
  'AUTHORIZATION_FAILED',
  400,
  'The authorization server answered with an error. Start again.',
)
/** The provider refuses our registration or our request: a configuration mistake on our side. */
export const ClientRejectedError = define(
  'CLIENT_REJECTED',
  500,
  'The authorization server rejects this application. Its configuration needs attention.',
)
/** The code could not be turned into credentials: the provider refused it, or its answer cannot be trusted. */
export const ExchangeFailedError = define(
  'EXCHANGE_FAILED',
  502,
  'The answer of the authorization server could not be used. Start again.',
)
/** `offline: 'required'` and there is no refresh token even after consent was asked for again. */
export const NoRefreshTokenError = define(
  'NO_REFRESH_TOKEN',
  502,
  'The authorization server granted no lasting access, which this application needs.',
)
/** The person was signed out, at the provider or everywhere, while this sign-in was under way. */
export const SignedOutError = define(
  'SIGNED_OUT',
  403,
  'You were signed out while this sign-in was under way. Sign in again.',
)
/** Somebody came back from a sign-out at the provider that did not begin in this browser, or long ago. */
export const LogoutStateInvalidError = define(
  'LOGOUT_STATE_INVALID',
  400,
  'This does not answer a sign-out of this browser, or took too long. Nothing was changed by it.',
)
/** A form that was to be posted again is not kept any more, or is not this person's. */
export const FormGoneError = define(
  'FORM_GONE',
  410,
  'This form is not kept any more: it was sent already, it took too long, or somebody else is signed in. Fill it in again.',
)
/** A form was posted without a valid token against cross-site requests. */
export const XsrfInvalidError = define(
  'XSRF_INVALID',
  403,
  'This form has expired or was not sent from this site. Go back, reload and try again.',
)

// Uses of credentials.

/** `fetch` was asked to send the access token somewhere it may not go. */
export const OriginNotAllowedError = define<'ORIGIN_NOT_ALLOWED', [origin: string]>(
  'ORIGIN_NOT_ALLOWED',
  500,
  'The access token may not be sent to %s. Add the origin to the option "allowedOrigins".',
)
/** Credentials were built from something that is not a complete serialization of them. */
export const CredentialsInvalidError = define<'CREDENTIALS_INVALID', [problem: string]>(
  'CREDENTIALS_INVALID',
  500,
  'Credentials: %s',
)

// Flows outside of the routes.

/** The person did not enter the code of a device in time. RFC 8628 section 3.5. */
export const DeviceCodeExpiredError = define(
  'DEVICE_CODE_EXPIRED',
  400,
  'The code was not entered in time, or is not valid any more. Start again.',
)
/** The `signal` that a flow was given ended it; its reason is the `cause`. */
export const FlowAbortedError = define('FLOW_ABORTED', 500, 'The authorization was given up before it ended.')
/** Why an ID token is not accepted. */
export type IdTokenProblem =
  | 'malformed'
  | 'too_large'
  | 'algorithm'
  | 'unknown_key'
  | 'signature'
  | 'issuer'
  | 'audience'
  | 'subject'
  | 'expired'
  | 'not_yet_valid'
  | 'nonce'
  | 'auth_time'

/**
 * An ID token proves nothing; `reason` says why, also in the JSON body of the answer. The token is nowhere in the error.
 *
 * @example
 * ```ts
 * import { IdTokenInvalidError } from 'fastify-oauth2client'
 *
 * function signInAgain(error: unknown): boolean {
 *   return error instanceof IdTokenInvalidError && error.reason === 'expired'
 * }
 * ```
 */
export class IdTokenInvalidError extends define<'ID_TOKEN_INVALID', [reason: string]>(
  'ID_TOKEN_INVALID',
  401,
  'The ID token is not accepted: %s.',
) {
  readonly reason: IdTokenProblem

  constructor(reason: IdTokenProblem, options: { readonly cause?: unknown } = {}) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.details = { reason }
  }
}

/** Why a logout token is not accepted. */
export type LogoutTokenProblem = IdTokenProblem | 'event' | 'session' | 'replayed'

/** A logout token of the provider ends nothing; `reason` says why, also in the JSON body of the answer. */
export class LogoutTokenInvalidError extends define<'LOGOUT_TOKEN_INVALID', [reason: string]>(
  'LOGOUT_TOKEN_INVALID',
  400,
  'The logout token is not accepted: %s.',
) {
  readonly reason: LogoutTokenProblem

  constructor(reason: LogoutTokenProblem, options: { readonly cause?: unknown } = {}) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.details = { reason }
  }
}

// Signing in from programs.

/** No port on this machine could be listened on, for the browser to come back to. */
export const LoopbackUnavailableError = define<'LOOPBACK_UNAVAILABLE', [what: string]>(
  'LOOPBACK_UNAVAILABLE',
  500,
  'Nothing can be listened on for the browser to come back to: %s. Leave out "ports" for any free port, or sign in without a local server.',
)
/** Nobody completed the authorization in time. */
export const AuthorizationTimeoutError = define(
  'AUTHORIZATION_TIMEOUT',
  408,
  'Nobody completed the authorization in time. Start again.',
)
