/** `oauth2client keygen`: a fresh key for the option `encryptionKeys`. */
import { randomBytes } from 'node:crypto'
import { keyId } from '../keys/key-ring.js'
import { defineCommand, OK } from './command.js'

const HELP = `Usage: oauth2client keygen [--json]

Prints one fresh key for the option "encryptionKeys": 32 random bytes in base64url, and nothing else.

  OAUTH2_KEY=$(npx fastify-oauth2client keygen)

Options:
  --json      { "key": ..., "kid": ... }: with the id that stands in the header of everything the key seals
  -h, --help  this text
`

/** For people only: in a pipe or a file there is nothing but the key. */
const hint = (kid: string) => `
Keep it as secret as a password. Records that it seals name it "${kid}".
To replace a key in use, with nobody signed out and processes of both kinds running meanwhile:
  1. append the new key to encryptionKeys, and deploy everywhere: it opens
  2. move it to the front, and deploy everywhere: it seals
  3. sweep: fastify.oauth2.sweep() moves every stored record to the first key
  4. remove the old key, and deploy
`

export const keygen = defineCommand({
  name: 'keygen',
  summary: 'prints a fresh key for encryptionKeys',
  help: HELP,
  options: { json: { type: 'boolean' } },
  async run({ json }, { stdout, stderr }) {
    const key = randomBytes(32).toString('base64url')
    const kid = keyId(key)
    stdout.write(json ? `${JSON.stringify({ key, kid })}\n` : `${key}\n`)
    if (stdout.isTTY) stderr.write(hint(kid))
    return OK
  },
})
