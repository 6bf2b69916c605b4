/** Records as an app stores them, sealed with its keys: made through the public API, over a store that only listens. */
import { CredentialManager, Credentials } from '../../dist/credentials/index.js'
import { CLIENT, SECRET } from './serving.mjs'

export const BATCH = 1_000

/** As long as one signed with RS256, and with as many claims. */
const ID_TOKEN = 'i'.repeat(650)

const credentialsOf = (n) =>
  new Credentials({
    accessToken: `access-token-of-user-${n}`,
    refreshToken: `refresh-token-of-user-${n}`,
    expiresAt: Date.now() + 86_400_000,
    scopes: ['openid', 'email'],
    userId: `subject-${n}`,
    email: `user-${n}@example.com`,
    claims: { sub: `subject-${n}`, email: `user-${n}@example.com` },
    idToken: ID_TOKEN,
  })

/**
 * @param issuer of the provider whose credentials they are
 * @returns keys and values of the users `user-1` to `user-<users>`, a batch at a time; the last one is a full one too
 */
export async function* sealedRecords(issuer, users) {
  let batch = []
  const storage = {
    shared: true,
    get: async () => undefined,
    async put(key, value) {
      batch.push({ key, value })
      return 1
    },
    delete: async () => false,
  }
  const manager = new CredentialManager({
    provider: { issuer },
    clientId: CLIENT.id,
    clientSecret: CLIENT.secret,
    encryptionKeys: [SECRET],
    storage,
  })
  for (let done = 0; done < users; done += BATCH) {
    const numbers = Array.from({ length: BATCH }, (_, index) => done + index + 1)
    await Promise.all(numbers.map(async (n) => (await manager.user(`user-${n}`)).adopt(credentialsOf(n))))
    yield batch
    batch = []
  }
}
