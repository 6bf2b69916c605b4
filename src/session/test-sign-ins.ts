/**
 * Sign-ins of tests that wait for their request. Only code in the process of the app can add one: no option does, and a request can
 * name but those that are here.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Account } from '../credentials/record.js'

const HEADER = 'x-oauth2-test-sign-in'

export interface TestSignIn {
  readonly account: Account
  /** Whether it joins the accounts that the user has. */
  readonly another: boolean
  /** Told whose credentials these are. */
  readonly done: (user: string) => void
}

export class TestSignIns {
  #waiting: Map<string, TestSignIn> | undefined

  /** @returns what the request has to have that signs in */
  expect(signIn: TestSignIn): { readonly headers: Readonly<Record<string, string>>; forget(): void } {
    const id = randomUUID()
    this.#waiting ??= new Map()
    this.#waiting.set(id, signIn)
    return { headers: { [HEADER]: id }, forget: () => void this.#waiting?.delete(id) }
  }

  find({ headers }: FastifyRequest): TestSignIn | undefined {
    return this.#waiting?.get(String(headers[HEADER]))
  }
}
