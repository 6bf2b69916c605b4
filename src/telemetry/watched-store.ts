/** Tells of calls of a credential store; `peek` takes no time, and `list` as long as whoever reads it. */
import type { CredentialStore } from '../storage/storage.js'
import type { StoreCall, Watch } from './watch.js'

export function watchedStore(store: CredentialStore, watch: Watch): CredentialStore {
  const { name = 'custom' } = store
  const calls = Object.fromEntries(
    (['get', 'put', 'delete', 'lock'] as const).map((operation) => [operation, { operation, store: name }]),
  ) as Record<StoreCall['operation'], StoreCall>
  const { peek, list, lock, close } = store
  const watched: CredentialStore = {
    name,
    get: (key) => watch.store(calls.get, () => store.get(key)),
    put: (key, value, expected) => watch.store(calls.put, () => store.put(key, value, expected)),
    delete: (key, expected) => watch.store(calls.delete, () => store.delete(key, expected)),
    ...(store.shared === undefined ? {} : { shared: store.shared }),
    ...(peek && { peek: (key) => peek.call(store, key) }),
    ...(list && { list: (prefix) => list.call(store, prefix) }),
    ...(lock && { lock: (key, ttlMs) => watch.store(calls.lock, () => lock.call(store, key, ttlMs)) }),
    ...(close && { close: () => close.call(store) }),
  }
  return watched
}
