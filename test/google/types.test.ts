/** The types, against the API packages of two majors of googleapis-common. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Inside of the project, so that packages resolve as they do for those who install them.
const folder = mkdtempSync(join(root, 'test/.types-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const program = (pkg: string) => `
import { auth, drive } from '${pkg}'
import { applicationDefaultCredentials, serviceAccountCredentials, toGoogleAuth } from '../../src/google/index.js'
import type { RequestOAuth2, TokenSource, UserOAuth2 } from '../../src/index.js'

export async function lists(user: UserOAuth2, request: RequestOAuth2, source: TokenSource) {
  for (const each of [user, request, source, await applicationDefaultCredentials()]) {
    drive({ version: 'v3', auth: toGoogleAuth(each) })
  }
  drive({ version: 'v3', auth: toGoogleAuth(await serviceAccountCredentials({ keyFile: 'x' }), { quotaProjectId: 'p' }) })
  const exact = toGoogleAuth(user, { AuthClient: auth.OAuth2 })
  const client: InstanceType<typeof auth.OAuth2> = exact
  const api = drive({ version: 'v3', auth: client })
  await api.files.list({ auth: toGoogleAuth(user) })
  const own = toGoogleAuth(user)
  drive({ version: 'v3', auth: own })
  const headers: Headers = await own.getRequestHeaders()
  // @ts-expect-error: not a source of tokens
  toGoogleAuth({ token: 'x' })
  return headers
}
`

test.each([['@googleapis/drive'], ['@googleapis/drive-current']])(
  '%s takes what toGoogleAuth gives',
  { timeout: 120_000 },
  (pkg) => {
    const name = pkg.replace(/\W+/g, '-')
    writeFileSync(join(folder, `${name}.ts`), program(pkg))
    const config = { extends: '../../tsconfig.json', include: [], files: [`${name}.ts`] }
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(config))
    try {
      execFileSync(
        process.execPath,
        [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(folder, `${name}.json`)],
        {
          encoding: 'utf8',
        },
      )
    } catch (error) {
      expect.fail((error as { stdout: string }).stdout)
    }
  },
)
