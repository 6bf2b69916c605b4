import type { CredentialStore } from '../../src/index.js'

type Operation = 'get' | 'put' | 'delete'

export interface BreakableStore extends CredentialStore {
  /** Simulates an outage: of everything, or of one operation. */
  failing: boolean | Operation
}

/** A credential store in front of another one, that can become unreachable. */
export function breakableStore(inner: CredentialStore): BreakableStore {
  const store: BreakableStore = {
    ...(inner.shared === undefined ? {} : { shared: inner.shared }),
    failing: false,
    get: (key) => reach('get', () => inner.get(key)),
    put: (key, value, expected) => reach('put', () => inner.put(key, value, expected)),
    delete: (key, expected) => reach('delete', () => inner.delete(key, expected)),
  }
  async function reach<T>(operation: Operation, use: () => Promise<T>): Promise<T> {
    if (store.failing === true || store.failing === operation) throw new Error('credential store is down')
    return use()
  }
  return store
}
