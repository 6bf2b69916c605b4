/** Answers to authorization requests that come as a signed JWT. JWT Secured Authorization Response Mode (JARM). */
import { StateInvalidError } from '../errors.js'
import { answerAlgorithms } from '../provider/profile.js'
import { CLOCK_TOLERANCE, type Provider } from '../provider/provider.js'
import { MAXIMUM_TOKEN_LENGTH } from './token-set.js'
import { PLAIN, verifyJwt } from './verify-jwt.js'

/** What an answer is made of. */
export const ANSWER_PARAMS = ['state', 'code', 'iss', 'error', 'error_description', 'error_uri', 'session_state']

/**
 * The parameters of an answer, out of the JWT that they came in. Nothing of it is believed before the signature, who made it,
 * for whom and until when have been checked; the state is then compared as that of any other answer.
 *
 * @param query as it was received
 * @throws {StateInvalidError} for anything but one `response` that holds
 * @throws {ProviderUnavailableError} when the provider's keys cannot be fetched
 */
export async function openAnswer(provider: Provider, query: URLSearchParams): Promise<URLSearchParams> {
  const [response = '', ...more] = query.getAll('response')
  if (more.length > 0 || response.length > MAXIMUM_TOKEN_LENGTH || ANSWER_PARAMS.some((name) => query.has(name))) {
    throw new StateInvalidError()
  }
  const { iss, aud, exp, iat, nbf, ...claims } = await verifyJwt(provider, response, {
    algorithms: answerAlgorithms,
    audience: [provider.clientId],
    required: ['iss', 'aud', 'exp'],
    typ: PLAIN,
    clockTolerance: CLOCK_TOLERANCE,
    invalid: () => new StateInvalidError(),
  })
  const texts = Object.entries(claims).filter((claim): claim is [string, string] => typeof claim[1] === 'string')
  const { issuer } = await provider.metadata()
  return new URLSearchParams([...texts, ['iss', issuer]])
}
