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
  /** `FST_OAUTH2_…`, listed in docs/errors.md. */
  declare readonly code: string
  /** What Fastify answers with, where nobody handles it. */
  declare readonly statusCode: number
  /** Response headers that belong to the answer, such as `WWW-Authenticate` and `Retry-After`. Fastify sends them. */
  declare headers?: Record<string, string>
  /** Members added to the JSON body of the answer, such as `missingScopes`. */
  declare details?: Record<string, unknown>
}

/**
 * An error class whose constructor takes what its message names, and optionally `{ cause }`. Every one of them is an
 * {@link OAuth2ClientError}.
 */
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

/**
 * An option is missing, unknown or makes no sense. The message names it and says what to write.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import oauth2Client, { OptionError } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.register(oauth2Client, { provider: { issuer: process.env.ISSUER ?? '' }, clientId: process.env.CLIENT_ID })
 * try {
 *   await app.ready()
 * } catch (error) {
 *   if (!(error instanceof OptionError)) throw error
 *   console.error(error.message)
 *   process.exitCode = 78
 * }
 * ```
 */
export const OptionError = define<'OPTION_INVALID', [option: string, problem: string]>(
  'OPTION_INVALID',
  500,
  'Option "%s": %s',
)
/**
 * The client secrets file cannot be read, is not JSON, or lacks a member. Its contents are in no message.
 * {@link loadClientSecrets}, {@link parseClientSecrets} and the plugin throw it.
 */
export const ClientSecretsError = define<'CLIENT_SECRETS_INVALID', [problem: string]>(
  'CLIENT_SECRETS_INVALID',
  500,
  'Client secrets: %s',
)
/**
 * A package that a chosen feature needs is not installed. The message has the command that installs it.
 *
 * @example
 * ```ts
 * import { MissingPeerError } from 'fastify-oauth2client'
 * import { runLocalServerFlow } from 'fastify-oauth2client/installed'
 *
 * const options = { clientSecretsFile: 'client_secrets.json', onUrl: (url: string) => console.log(url) }
 * const credentials = await runLocalServerFlow(options).catch((error: unknown) => {
 *   // There is no package "open" here: whoever reads the terminal opens the link.
 *   if (error instanceof MissingPeerError) return runLocalServerFlow({ ...options, openBrowser: false })
 *   throw error
 * })
 * ```
 */
export const MissingPeerError = define<'PEER_MISSING', [name: string, name: string]>(
  'PEER_MISSING',
  500,
  'The package "%s" is needed for this and is not installed. Run: npm install %s',
)
/**
 * A guard, or a route's `config.oauth2`, names a client that is not registered where the route is declared. See
 * {@link requireOAuth} and its option `client`.
 */
export const NotRegisteredError = define<'NOT_REGISTERED', [name: string]>(
  'NOT_REGISTERED',
  500,
  'No OAuth client named "%s" is registered in this context. Register fastify-oauth2client under that name here or in a parent.',
)
/** `request.oauth2` was used on a route without a guard, before `await request.oauth2.load()`. See {@link oauthAware}. */
export const NotLoadedError = define<'NOT_LOADED', [name: string]>(
  'NOT_LOADED',
  500,
  'request.%s is not loaded. Put requireOAuth() or oauthAware() on the route, or call await load() first.',
)
/**
 * There is no usable session on the request. No session plugin is registered where {@link fastifyOAuth2Client} is, or
 * it comes after it.
 */
export const SessionRequiredError = define<'SESSION_REQUIRED', [problem: string]>(
  'SESSION_REQUIRED',
  500,
  'No session: %s',
)
/**
 * The session cookie could never come back with the callback as it is configured. It is `secure` over plain HTTP, or
 * `SameSite=Strict`, say: {@link handleAuthorize} refuses to begin what cannot end.
 */
export const SessionCookieError = define<'SESSION_COOKIE_UNUSABLE', [problem: string]>(
  'SESSION_COOKIE_UNUSABLE',
  500,
  'Session cookie: %s',
)
/**
 * `storage: 'session'` over a cookie session, and the credentials do not fit into a cookie. Thrown where
 * {@link handleCallback} would store them.
 */
export const SessionTooLargeError = define(
  'SESSION_TOO_LARGE',
  500,
  'The credentials do not fit into the session cookie (4096 bytes). Keep them in a store: storage: sqlStore(...), redisStore(...) or memoryStore(), or use @fastify/session.',
)
/**
 * `user(key)` and other uses outside a request need a store; a session is only there while its request is.
 *
 * @example
 * ```ts
 * import type { FastifyInstance } from 'fastify'
 * import { StoreRequiredError } from 'fastify-oauth2client'
 *
 * // For jobs that run in apps with and without a store.
 * async function canRunJobs(app: FastifyInstance): Promise<boolean> {
 *   try {
 *     await app.oauth2.user('probe')
 *     return true
 *   } catch (error) {
 *     if (error instanceof StoreRequiredError) return false
 *     throw error
 *   }
 * }
 * ```
 */
export const StoreRequiredError = define(
  'STORE_REQUIRED',
  500,
  'Credentials kept in the session cannot be used outside a request. Set the option "storage" to a credential store.',
)
/**
 * The provider's own metadata is wrong, or does not belong to the configured issuer. {@link authorizationUrl} and the
 * other flows throw it: waiting does not help.
 */
export const ProviderMetadataError = define<'PROVIDER_METADATA', [problem: string]>(
  'PROVIDER_METADATA',
  500,
  'Provider metadata: %s',
)
/**
 * Stored credentials were sealed with keys that are not in the ring any more: they could not be read. The app does not
 * start, rather than fail for one user after the other; {@link CredentialManager} rejects its first use.
 */
export const KeyInUseError = define<'KEY_IN_USE', [kids: string, record: string]>(
  'KEY_IN_USE',
  500,
  'Stored credentials were sealed with keys that are not in encryptionKeys: %s. Put them back at the end of encryptionKeys until nothing uses them. If a key is lost for good, delete "%s" from the store to start without what it sealed.',
)

/**
 * Google credentials (a key file, application default credentials) cannot be found, read or used.
 *
 * @example
 * ```ts
 * import { GoogleCredentialsError } from 'fastify-oauth2client'
 * import { applicationDefaultCredentials } from 'fastify-oauth2client/google'
 *
 * const credentials = await applicationDefaultCredentials().catch((error: unknown) => {
 *   if (error instanceof GoogleCredentialsError) console.error('Run: gcloud auth application-default login')
 *   throw error
 * })
 * ```
 */
export const GoogleCredentialsError = define<'GOOGLE_CREDENTIALS', [problem: string]>(
  'GOOGLE_CREDENTIALS',
  500,
  'Google credentials: %s',
)

// Answers of guards.

/**
 * Nobody is signed in, or what is stored can no longer be used. RFC 6750 section 3.
 *
 * @example
 * ```ts
 * import { CredentialsRequiredError, type UserOAuth2 } from 'fastify-oauth2client'
 *
 * async function nightlyCopy(user: UserOAuth2): Promise<'copied' | 'asked to sign in again'> {
 *   try {
 *     await user.fetch('https://api.example.com/files')
 *     return 'copied'
 *   } catch (error) {
 *     // Nobody is here to be redirected: an e-mail has to do.
 *     if (error instanceof CredentialsRequiredError) return 'asked to sign in again'
 *     throw error
 *   }
 * }
 * ```
 */
export const CredentialsRequiredError = define('CREDENTIALS_REQUIRED', 401, 'Authorization is required.')
/**
 * The app's own user is not signed in: `userKey` returned nothing. With `loginPath`, people are sent there instead.
 * {@link requireOAuth} answers with it.
 */
export const UserRequiredError = define('USER_REQUIRED', 401, 'Sign in to this application first.')
/**
 * Scopes that the route needs have not been granted. RFC 6750 section 3.1. `details.missingScopes` names them.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { InsufficientScopeError } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.setErrorHandler((error, request, reply) => {
 *   // Passed on, it is answered as a guard answers: a redirect for a person, else a 403 with `authorizeUrl`.
 *   if (error instanceof InsufficientScopeError) return reply.send(error)
 *   request.log.error(error)
 *   return reply.code(500).send({ error: 'Something went wrong.' })
 * })
 * ```
 */
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

/**
 * The person was asked to sign in again, and that was not what is needed. {@link requireOAuth} answers with it, so that
 * nobody goes round in circles; {@link authorizationCodeGrant} throws it.
 */
export const StepUpFailedError = define(
  'STEP_UP_FAILED',
  403,
  'A more recent or a stronger sign-in is needed than the one that was just made.',
)
/**
 * The person was asked for a scope that the route needs and said no. `details.missingScopes` names it.
 * {@link requireOAuth} answers with it and a way to ask again.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import oauth2Client, { ScopeDeclinedError } from 'fastify-oauth2client'
 *
 * const app = Fastify()
 * app.register(oauth2Client, {
 *   clientSecretsFile: 'client_secrets.json',
 *   onError: (error, _request, reply) =>
 *     error instanceof ScopeDeclinedError ? reply.code(403).send('That page needs your calendar.') : undefined,
 * })
 * ```
 */
export const ScopeDeclinedError = define(
  'SCOPE_DECLINED',
  403,
  'This page needs a permission that was declined when it was asked for.',
)
/**
 * An authorization for the same scopes ended moments ago and changed nothing; asking again would be a loop.
 * {@link requireOAuth} answers with it; mostly it is a cookie that does not come back.
 */
export const AuthorizationLoopError = define(
  'AUTHORIZATION_LOOP',
  403,
  'Authorization was completed a moment ago but had no effect: the session did not come back, or the access expired at once.',
)
/**
 * Somebody else than expected signed in at the provider. Nothing was stored, nothing was revoked.
 * {@link handleCallback} answers with it.
 */
export const AccountMismatchError = define(
  'ACCOUNT_MISMATCH',
  403,
  'Another account was used than the one that is connected. Nothing was changed.',
)
/**
 * With `userKey`: an account that is new to this user, from a flow that another site may have begun. Nothing is stored before
 * the person confirms it: `details` has `account`, and `confirmUrl` and `_csrf` for the form that does.
 * {@link handleConfirm} takes the answer.
 */
export const ConfirmationRequiredError = define(
  'CONFIRMATION_REQUIRED',
  403,
  'Another site may have sent you here, so nothing is connected yet. Go on only if the account is yours and you want it connected.',
)
/**
 * The provider cannot be reached or is failing. What is stored is kept. `headers` may have a `retry-after`, in seconds.
 *
 * @example
 * ```ts
 * import { ProviderUnavailableError, type UserOAuth2 } from 'fastify-oauth2client'
 *
 * async function syncOrWait(user: UserOAuth2, later: (seconds: number) => void): Promise<void> {
 *   try {
 *     await user.fetch('https://api.example.com/sync', { method: 'POST' })
 *   } catch (error) {
 *     if (!(error instanceof ProviderUnavailableError)) throw error
 *     later(Number(error.headers?.['retry-after'] ?? 60))
 *   }
 * }
 * ```
 */
export const ProviderUnavailableError = define(
  'PROVIDER_UNAVAILABLE',
  503,
  'The authorization server cannot be reached at the moment. Try again shortly.',
)
/**
 * The credential store cannot be reached. What it is about is the `cause`.
 *
 * @example
 * ```ts
 * import type { FastifyInstance } from 'fastify'
 * import { StoreUnavailableError } from 'fastify-oauth2client'
 *
 * function addHealth(app: FastifyInstance): void {
 *   app.get('/health', async (_request, reply) => {
 *     try {
 *       await (await app.oauth2.user('health')).load()
 *       return { store: 'up' }
 *     } catch (error) {
 *       if (error instanceof StoreUnavailableError) return reply.code(503).send({ store: 'down' })
 *       throw error
 *     }
 *   })
 * }
 * ```
 */
export const StoreUnavailableError = define(
  'STORE_UNAVAILABLE',
  503,
  'Stored credentials cannot be reached at the moment. Try again shortly.',
)
/**
 * A `StoreUnavailableError` of `keyringStore`: there is no keyring, or it stays locked. What the system said is its cause.
 *
 * @example
 * ```ts
 * import { CredentialManager, KeyringUnavailableError } from 'fastify-oauth2client'
 * import { fileStore } from 'fastify-oauth2client/storage/file'
 * import { keyringStore } from 'fastify-oauth2client/storage/keyring'
 *
 * async function storeHere() {
 *   const keyring = keyringStore({ service: 'my-app' })
 *   try {
 *     await keyring.get('probe')
 *     return keyring
 *   } catch (error) {
 *     if (error instanceof KeyringUnavailableError) return fileStore({ path: 'credentials.json' })
 *     throw error
 *   }
 * }
 *
 * const manager = new CredentialManager({ clientSecretsFile: 'client_secrets.json', storage: await storeHere() })
 * ```
 */
export const KeyringUnavailableError = define(
  'KEYRING_UNAVAILABLE',
  503,
  'The keyring of this system cannot be reached, or is locked. Where there is none, as on servers and in containers, keep credentials in a file: fileStore({ path }) of fastify-oauth2client/storage/file.',
  StoreUnavailableError,
)
/**
 * Why a stored record cannot be read. Each has its own way on; docs/errors.md has a paragraph about each. It is the
 * `reason` of a {@link CredentialsUnreadableError}.
 */
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
  /** Why: each has its own way on. */
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

/**
 * A stored record belongs to another client or issuer than the configured one. Nothing was sent. `name`, store and
 * prefix of one registration were given to another: {@link CredentialManager} and guards leave the record as it is.
 */
export const ClientMismatchError = define(
  'CLIENT_MISMATCH',
  503,
  'Stored credentials belong to another client or issuer than the one that is configured. Nothing was sent and nothing was changed.',
)

// Answers of the authorize, callback and logout routes.

/**
 * `scope` asks for something that no option and no guard declares. {@link handleAuthorize} answers with it: name the
 * scope in `optionalScopes`, or on a guard.
 */
export const ScopeNotDeclaredError = define(
  'SCOPE_NOT_DECLARED',
  400,
  'A scope was asked for that this application does not declare.',
)
/**
 * A `ticket` that is not ours, was altered, or is too old. Links of {@link RequestOAuth2.authorizeUrl} are good for a
 * time. {@link handleAuthorize} answers with it.
 */
export const TicketInvalidError = define('TICKET_INVALID', 400, 'This link has expired. Go back and try again.')
/**
 * The authorize route was loaded by something else than a person's navigation. {@link handleAuthorize} answers with it;
 * link to it, and do not fetch it.
 */
export const NavigationRequiredError = define(
  'NAVIGATION_REQUIRED',
  403,
  'Authorization starts with a navigation of the browser, not with a request of a script, an image or a prefetch.',
)
/**
 * The callback does not answer an authorization request of this browser. {@link handleCallback} answers with it,
 * {@link authorizationCodeGrant} throws it.
 */
export const StateInvalidError = define(
  'STATE_INVALID',
  400,
  'This does not answer an authorization request of this browser, or took too long. Start again.',
)
/**
 * A provider's answer that came in a form is larger than what can be kept while the browser comes back with its
 * session. {@link handleCallback} answers with it.
 */
export const AnswerTooLargeError = define(
  'ANSWER_TOO_LARGE',
  413,
  'The answer of the authorization server is too large for this application.',
)
/**
 * The person refused. Existing credentials stay. RFC 6749 section 4.1.2.1.
 *
 * @example
 * ```ts
 * import { AccessDeniedError } from 'fastify-oauth2client'
 * import { runDeviceFlow } from 'fastify-oauth2client/installed'
 *
 * try {
 *   await runDeviceFlow({ clientSecretsFile: 'client_secrets.json', onCode: ({ userCode }) => console.log(userCode) })
 * } catch (error) {
 *   if (!(error instanceof AccessDeniedError)) throw error
 *   console.log('Nothing was granted. The program goes on without.')
 * }
 * ```
 */
export const AccessDeniedError = define('ACCESS_DENIED', 403, 'Access was not granted.')
/**
 * The provider answered with an error that the person cannot cure by saying yes. {@link handleCallback} answers with
 * it, {@link authorizationCodeGrant} throws it. RFC 6749 section 4.1.2.1.
 */
export const AuthorizationFailedError = define(
  'AUTHORIZATION_FAILED',
  400,
  'The authorization server answered with an error. Start again.',
)
/**
 * The provider refuses our registration or our request: a configuration mistake on our side. Page somebody: nobody can
 * sign in.
 *
 * @example
 * ```ts
 * import type { FastifyRequest } from 'fastify'
 * import { ClientRejectedError, type OAuth2ClientError } from 'fastify-oauth2client'
 *
 * function onError(error: OAuth2ClientError, request: FastifyRequest): void {
 *   if (error instanceof ClientRejectedError) request.log.fatal({ code: error.code }, 'has the client secret expired?')
 * }
 * ```
 */
export const ClientRejectedError = define(
  'CLIENT_REJECTED',
  500,
  'The authorization server rejects this application. Its configuration needs attention.',
)
/**
 * The code could not be turned into credentials: the provider refused it, or its answer cannot be trusted.
 * {@link handleCallback} answers with it; the flows of `/installed`, such as {@link runDeviceFlow}, throw it.
 */
export const ExchangeFailedError = define(
  'EXCHANGE_FAILED',
  502,
  'The answer of the authorization server could not be used. Start again.',
)
/**
 * `offline: 'required'` and there is no refresh token even after consent was asked for again. {@link handleCallback}
 * answers with it; docs/providers.md says what each provider wants first.
 */
export const NoRefreshTokenError = define(
  'NO_REFRESH_TOKEN',
  502,
  'The authorization server granted no lasting access, which this application needs.',
)
/**
 * The person was signed out, at the provider or everywhere, while this sign-in was under way. {@link handleCallback}
 * answers with it.
 */
export const SignedOutError = define(
  'SIGNED_OUT',
  403,
  'You were signed out while this sign-in was under way. Sign in again.',
)
/**
 * Somebody came back from a sign-out at the provider that did not begin in this browser, or long ago. It is the answer
 * of the logout route of {@link fastifyOAuth2Client}.
 */
export const LogoutStateInvalidError = define(
  'LOGOUT_STATE_INVALID',
  400,
  'This does not answer a sign-out of this browser, or took too long. Nothing was changed by it.',
)
/**
 * A form that was to be posted again is not kept any more, or is not this person's. {@link handleResume} answers with
 * it.
 */
export const FormGoneError = define(
  'FORM_GONE',
  410,
  'This form is not kept any more: it was sent already, it took too long, or somebody else is signed in. Fill it in again.',
)
/**
 * A form was posted without a valid token against cross-site requests. The logout route answers with it, and
 * {@link handleConfirm}.
 */
export const XsrfInvalidError = define(
  'XSRF_INVALID',
  403,
  'This form has expired or was not sent from this site. Go back, reload and try again.',
)

// Uses of credentials.

/**
 * `fetch` was asked to send the access token somewhere it may not go.
 *
 * @example
 * ```ts
 * import { OriginNotAllowedError, type UserOAuth2 } from 'fastify-oauth2client'
 *
 * // A link that somebody else wrote down: with the token only where that may go.
 * async function preview(user: UserOAuth2, url: string): Promise<Response> {
 *   try {
 *     return await user.fetch(url)
 *   } catch (error) {
 *     if (error instanceof OriginNotAllowedError) return fetch(url)
 *     throw error
 *   }
 * }
 * ```
 */
export const OriginNotAllowedError = define<'ORIGIN_NOT_ALLOWED', [origin: string]>(
  'ORIGIN_NOT_ALLOWED',
  500,
  'The access token may not be sent to %s. Add the origin to the option "allowedOrigins".',
)
/**
 * Credentials were built from something that is not a complete serialization of them.
 *
 * @example
 * ```ts
 * import { Credentials, CredentialsInvalidError } from 'fastify-oauth2client'
 *
 * function restore(text: string): Credentials | undefined {
 *   try {
 *     return Credentials.fromJSON(text)
 *   } catch (error) {
 *     if (error instanceof CredentialsInvalidError) return undefined
 *     throw error
 *   }
 * }
 * ```
 */
export const CredentialsInvalidError = define<'CREDENTIALS_INVALID', [problem: string]>(
  'CREDENTIALS_INVALID',
  500,
  'Credentials: %s',
)

// Flows outside of the routes.

/**
 * The person did not enter the code of a device in time. RFC 8628 section 3.5.
 *
 * @example
 * ```ts
 * import { DeviceCodeExpiredError } from 'fastify-oauth2client'
 * import { type DeviceFlowOptions, runDeviceFlow } from 'fastify-oauth2client/installed'
 *
 * async function untilEntered(options: DeviceFlowOptions) {
 *   for (;;) {
 *     try {
 *       return await runDeviceFlow(options)
 *     } catch (error) {
 *       if (!(error instanceof DeviceCodeExpiredError)) throw error
 *       // Nobody was there: `onCode` shows a new one.
 *     }
 *   }
 * }
 * ```
 */
export const DeviceCodeExpiredError = define(
  'DEVICE_CODE_EXPIRED',
  400,
  'The code was not entered in time, or is not valid any more. Start again.',
)
/**
 * The `signal` that a flow was given ended it; its reason is the `cause`. {@link runLocalServerFlow},
 * {@link runPasteFlow}, {@link runDeviceFlow} and {@link deviceAuthorizationGrant} throw it.
 *
 * @example
 * ```ts
 * import { FlowAbortedError } from 'fastify-oauth2client'
 * import { runPasteFlow } from 'fastify-oauth2client/installed'
 *
 * const signal = AbortSignal.timeout(120_000)
 * const ask = async (url: string) => `pasted after ${url}`
 * const credentials = await runPasteFlow({ clientSecretsFile: 'client_secrets.json', ask, signal }).catch((error) => {
 *   if (error instanceof FlowAbortedError) return undefined
 *   throw error
 * })
 * ```
 */
export const FlowAbortedError = define('FLOW_ABORTED', 500, 'The authorization was given up before it ended.')
/** Why an ID token is not accepted. It is the `reason` of an {@link IdTokenInvalidError}. */
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
  /** What is wrong with it. */
  readonly reason: IdTokenProblem

  constructor(reason: IdTokenProblem, options: { readonly cause?: unknown } = {}) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.details = { reason }
  }
}

/** Why a logout token is not accepted. It is the `reason` of a {@link LogoutTokenInvalidError}. */
export type LogoutTokenProblem = IdTokenProblem | 'event' | 'session' | 'replayed'

/**
 * A logout token of the provider ends nothing; `reason` says why, also in the JSON body of the answer. OpenID Connect
 * Back-Channel Logout 1.0 section 2.6.
 *
 * @example
 * ```ts
 * import { LogoutTokenInvalidError } from 'fastify-oauth2client'
 * import { type Provider, verifyLogoutToken } from 'fastify-oauth2client/flows'
 *
 * async function statusFor(provider: Provider, logoutToken: string): Promise<200 | 400> {
 *   try {
 *     await verifyLogoutToken(provider, logoutToken)
 *     return 200
 *   } catch (error) {
 *     if (error instanceof LogoutTokenInvalidError) return 400
 *     throw error
 *   }
 * }
 * ```
 */
export class LogoutTokenInvalidError extends define<'LOGOUT_TOKEN_INVALID', [reason: string]>(
  'LOGOUT_TOKEN_INVALID',
  400,
  'The logout token is not accepted: %s.',
) {
  /** What is wrong with it. */
  readonly reason: LogoutTokenProblem

  constructor(reason: LogoutTokenProblem, options: { readonly cause?: unknown } = {}) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.details = { reason }
  }
}

// Signing in from programs.

/** No port on this machine could be listened on, for the browser to come back to. {@link runLocalServerFlow} throws it. */
export const LoopbackUnavailableError = define<'LOOPBACK_UNAVAILABLE', [what: string]>(
  'LOOPBACK_UNAVAILABLE',
  500,
  'Nothing can be listened on for the browser to come back to: %s. Leave out "ports" for any free port, or sign in without a local server.',
)
/** Nobody completed the authorization in time. {@link runLocalServerFlow} throws it, after its `timeout`. */
export const AuthorizationTimeoutError = define(
  'AUTHORIZATION_TIMEOUT',
  408,
  'Nobody completed the authorization in time. Start again.',
)
