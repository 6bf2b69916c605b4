// Refreshes, then looks for refresh tokens in everything that is left in memory. Plain JavaScript, started by heap.test.ts.
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { getHeapSnapshot } from 'node:v8'

const folder = process.argv[2]
const load = (name) => import(pathToFileURL(`${folder}/src/${name}.js`).href)
const { CredentialManager, Credentials } = await load('credentials/index')
const { memoryStore } = await load('storage/memory')

// Put together here, so that no source text holds one, and not kept.
let issued = 0
const token = (kind) => ['x', kind, 'canary', ++issued, Math.random().toString(36).slice(2)].join('-')

const server = createServer((_request, response) => {
  response.setHeader('content-type', 'application/json')
  const [access_token, refresh_token] = [token('at'), token('rt')]
  response.end(JSON.stringify({ access_token, refresh_token, token_type: 'Bearer', expires_in: 3600 }))
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const issuer = `http://localhost:${server.address().port}`
const manager = new CredentialManager({
  provider: { issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token` },
  clientId: 'client',
  clientSecret: 'secret',
  storage: { ...memoryStore(), shared: true },
  encryptionKeys: 'k'.repeat(32),
})

async function use() {
  for (const name of ['alice', 'bob']) {
    const user = await manager.user(name)
    await user.adopt(new Credentials({ accessToken: token('at'), refreshToken: token('rt'), userId: name }))
    for (let i = 0; i < 3; i++) await user.getAccessToken({ rejected: (await user.getAccessToken()).token })
  }
}
await use()
for (let i = 0; i < 10; i++) {
  await setTimeout(20)
  globalThis.gc()
}
let heap = ''
for await (const chunk of getHeapSnapshot()) heap += chunk
const count = (kind) => new Set(heap.match(new RegExp(`x-${kind}-canary-\\d+-\\w+`, 'g'))).size
process.stdout.write(JSON.stringify({ issued, refreshTokens: count('rt'), accessTokens: count('at') }))
// The connections to the provider are open all the while, as they are in an app.
globalThis.manager = manager
server.closeAllConnections()
server.close()
