import type { FastifyRequest } from 'fastify'

/** The API answered with an error. Missing permissions and expired tokens are none: `fetch` and the guard see to those. */
export class ApiError extends Error {
  readonly statusCode = 502
  readonly code = 'API_ERROR'

  constructor(status: number) {
    super(`The API answered with status ${status}.`)
  }
}

/** Asks the API for JSON in the name of whoever makes the request. */
export async function callApi<T>(request: FastifyRequest, url: string): Promise<T> {
  const response = await request.oauth2.fetch(url, { headers: { accept: 'application/json' } })
  if (!response.ok) throw new ApiError(response.status)
  return (await response.json()) as T
}
