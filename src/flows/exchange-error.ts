/** What a failed token request means to whoever waits for credentials. */
import { ClientRejectedError, ExchangeFailedError, ProviderUnavailableError } from '../errors.js'
import { ProviderFailure } from '../provider/failure.js'

/** Seconds, where the provider does not say. */
const RETRY_AFTER = 5

/** The coded error for a {@link ProviderFailure}; everything else is returned as it is. */
export function exchangeError(error: unknown): unknown {
  if (!(error instanceof ProviderFailure)) return error
  if (error.kind === 'client') return new ClientRejectedError({ cause: error })
  if (!error.temporary) return new ExchangeFailedError({ cause: error })
  const unavailable = new ProviderUnavailableError({ cause: error })
  unavailable.headers = { 'retry-after': String(Math.max(1, error.retryAfter ?? RETRY_AFTER)) }
  return unavailable
}
