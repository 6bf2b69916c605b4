// The table of contents of parity: what people could do with oauth2client, google-auth and google-auth-oauthlib, and which tests hold
// us to it. Cases have the ids that tests cite in their names: a prefix for the part of the original, and a number. AT and SP are
// numbered by us. Where there is no number, a few words of the test's name stand for it.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

interface Row {
  /** What a user could do. */
  readonly could: string
  /** Where it lives here. */
  readonly here: string
  /** Which cases are tested where. */
  readonly tests: Readonly<Record<string, readonly string[]>>
  /** Left out, with the reason. */
  readonly dropped?: Readonly<Record<string, string>>
}

/** `FL-1` to `FL-18`, without some. */
function cases(prefix: string, last: number, { from = 1, without = [] as readonly number[] } = {}): string[] {
  return Array.from({ length: last - from + 1 }, (_, index) => from + index)
    .filter((number) => !without.includes(number))
    .map((number) => `${prefix}-${number}`)
}

const ROWS: readonly Row[] = [
  {
    could: 'flask_util: register once, guard routes, ask for more when a page needs it, keep credentials anywhere',
    here: 'the plugin, requireOAuth, request.oauth2, onAuthorized',
    tests: { 'parity/flask-util': cases('FL', 18) },
  },
  {
    could: 'appengine decorators: required, aware, a callback of their own, state that belongs to a user',
    here: 'requireOAuth, oauthAware, handleCallback, routeOptions',
    tests: { 'parity/appengine': cases('GA', 10) },
    dropped: { 'GA-11': 'identity of an app on a platform that is gone; applicationDefaultCredentials for today' },
  },
  {
    could: 'django_util: decorators, a signal, session or database, the users of the app',
    here: 'requireOAuth, oauthAware, onAuthorized, userKey, sqlStore',
    tests: { 'parity/django-util': cases('DJ', 13, { without: [12] }) },
    dropped: { 'DJ-12': 'a model field that holds pickles; there is a table instead' },
  },
  {
    could: 'xsrfutil: tokens for forms, bound to key, user, action and time',
    here: 'createXsrfToken, verifyXsrfToken',
    tests: { 'xsrf/token': cases('XS', 3) },
  },
  {
    could: 'clientsecrets: web and installed files, with errors that say what is wrong',
    here: 'loadClientSecrets, parseClientSecrets, clientSecretsFile',
    tests: { 'flows/client-secrets': cases('CS', 8) },
  },
  {
    could:
      'client.Flow: both steps of an authorization, in one process or two, with extras, hints and codes from elsewhere',
    here: 'authorizationUrl, authorizationCodeGrant',
    tests: {
      'flows/authorization-code': cases('FW', 11, { without: [3, 7] }),
      'parity/flow': ['FW-3', 'FW-7', 'PK-1', 'PK-3', ...cases('HE', 3)],
    },
    dropped: { 'PK-2': 'nobody chooses how long a verifier is: they are made here' },
  },
  {
    could: 'client.Flow: codes for a device without a browser',
    here: 'deviceAuthorization, deviceAuthorizationGrant',
    tests: { 'flows/device': cases('DV', 6) },
  },
  {
    could: 'client.OAuth2Credentials: authorize, refresh, revoke, ask for scopes, write and read as text',
    here: 'Credentials, CredentialManager, request.oauth2',
    tests: {
      'parity/credentials': cases('CL', 23, { without: [13] }),
      'credentials/import': ['CL-1', 'CL-13', 'CL-16'],
    },
  },
  {
    could: 'client.AccessTokenCredentials: a token from elsewhere, which cannot be refreshed and says so',
    here: 'Credentials.fromAccessToken',
    tests: { 'parity/credentials': cases('AT', 4) },
  },
  {
    could: 'Storage.put, set_credentials: store what was obtained elsewhere, for one user or a whole live system',
    here: 'adopt, fromOAuth2Client, fromAuthorizedUser',
    tests: { 'parity/storages': cases('SP', 2) },
  },
  {
    could: 'client.Storage with locks, file.Storage, multistore and multiprocess files',
    here: 'CredentialStore with compare-and-set and leases, fileStore',
    tests: { 'parity/storages': ['ST-1', 'ST-2', 'ST-3', 'ST-6', 'ST-7', 'ST-8', 'ST-9', 'ST-10'] },
  },
  { could: 'dictionary_storage: any mapping', here: 'memoryStore', tests: { 'parity/storages': ['ST-4'] } },
  { could: 'keyring_storage: the keyring of the system', here: 'keyringStore', tests: { 'storage/keyring': ['ST-5'] } },
  {
    could: 'sqlalchemy and DjangoORMStorage: the database of the app',
    here: 'sqlStore',
    tests: { 'parity/storages': ['ST-11', 'ST-12'], 'parity/django-util': ['DJ-13'] },
  },
  {
    could: 'appengine.StorageByKeyName: a datastore with a cache in front',
    here: 'sqlStore, redisStore, cacheMaxAge',
    tests: { 'parity/storages': ['ST-13'] },
  },
  {
    could: 'transport: an HTTP client that carries the token, refreshes and tries again',
    here: 'fetch',
    tests: { 'parity/transport': cases('TR', 5), 'parity/credentials': cases('CL', 10, { from: 4 }) },
  },
  {
    could: 'verify_id_token, crypt: verify what was signed for an audience',
    here: 'verifyIdToken; jose for the rest',
    tests: { 'flows/verify-id-token': ['ID-1', 'ID-3', 'JW-1', 'JW-2'], 'parity/flow': ['ID-2'] },
    dropped: { 'JW-3': 'how long an ID token may be valid is for its issuer to say' },
  },
  {
    could: 'service_account, AssertionCredentials: key files, scopes, delegation, claims, signatures',
    here: 'serviceAccountCredentials, jwtBearerGrant',
    tests: { 'google/service-account': cases('SA', 6), 'flows/machine-grants': ['SA-4'] },
  },
  {
    could: 'GoogleCredentials: application default credentials, and the file that gcloud reads',
    here: 'applicationDefaultCredentials, oauth2client login --adc',
    tests: { 'google/application-default': cases('AD', 7) },
    dropped: { 'AD-8': 'how a machine of Google’s is found is for google-auth-library to say' },
  },
  {
    could: 'contrib.gce, AppAssertionCredentials: a token from the machine that one runs on',
    here: 'applicationDefaultCredentials',
    tests: { 'google/application-default': ['then the machine: scopes are asked for'] },
  },
  {
    could: 'tools.run_flow: sign in from the command line',
    here: 'runLocalServerFlow, oauth2client login',
    tests: { 'installed/loopback': cases('TL', 4) },
    dropped: { 'TL-5': 'out-of-band redirects, which Google shut down' },
  },
  {
    could: 'google-auth-oauthlib: Flow and InstalledAppFlow',
    here: 'authorizationUrl, authorizationCodeGrant, runLocalServerFlow',
    tests: { 'parity/flow': cases('GO', 6), 'installed/loopback': cases('IA', 8) },
  },
  {
    could: 'google-auth: credentials for a client of an API',
    here: 'toGoogleAuth',
    tests: { 'google/to-google-auth': ['lists files through expiry, a 401 and a rotation'] },
  },
]

/** How many cases each part of the original has. */
const CASES: Readonly<Record<string, number>> = {
  ...{ HE: 3, PK: 3, CS: 8, CL: 23, AD: 8, ID: 3, FW: 11, DV: 6, TR: 5, JW: 3, SA: 6, TL: 5, ST: 13, FL: 18, DJ: 13 },
  ...{ GA: 11, XS: 3, GO: 6, IA: 8, AT: 4, SP: 2 },
}

const folder = fileURLToPath(new URL('..', import.meta.url))

/** Names of tests are texts of one line; comments do not count. */
function textsIn(file: string): string[] {
  const code = readFileSync(`${folder}${file}`, 'utf8').replace(/^\s*\/\/.*$/gm, '')
  return [...code.matchAll(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`[^`\n]*`/g)].map(([text]) => text)
}

const isId = (id: string) => /^[A-Z]{2}-\d+$/.test(id)

/** Those that no text has: `FL-1` is not in `FL-11`. */
function missingIn(texts: readonly string[], ids: readonly string[]): string[] {
  const found = new Set(texts.flatMap((text) => text.match(/\b[A-Z]{2}-\d+\b/g) ?? []))
  return ids.filter((id) => (isId(id) ? !found.has(id) : !texts.some((text) => text.includes(id))))
}

describe.each(ROWS)('$could', ({ tests }) => {
  test.each(Object.entries(tests))('%s', (file, ids) => {
    expect(missingIn(textsIn(`${file}.test.ts`), ids)).toEqual([])
  })

  test('is held by some test', () => {
    expect(Object.values(tests).flat()).not.toEqual([])
  })
})

test('every case has its row, tested or dropped for a reason', () => {
  const listed = new Set(
    ROWS.flatMap(({ tests, dropped = {} }) => [...Object.values(tests).flat(), ...Object.keys(dropped)]),
  )
  const all = Object.entries(CASES).flatMap(([prefix, last]) => cases(prefix, last))
  expect(all.filter((id) => !listed.has(id))).toEqual([])
  expect([...listed].filter((id) => isId(id) && !all.includes(id))).toEqual([])
})
