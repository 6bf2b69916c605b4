/** `oauth2client doctor`: looks at everything that can be looked at from outside, and says what to write where it is wrong. */
import { resolve } from 'node:path'
import type { ClientSecrets } from '../flows/client-secrets.js'
import type { ProviderMetadata } from '../provider/preset.js'
import type { Provider } from '../provider/provider.js'
import type { SigningKey } from '../provider/signing-key.js'
import { resolveProvider } from '../registration/provider.js'
import { checkClientKey } from './client-key.js'
import { defineCommand, FAILED, type Io, OK, printable, UsageError } from './command.js'
import { checkApp } from './doctor/app.js'
import { checkRedirects, checkSecretsFile } from './doctor/client.js'
import { bad, type Finding, messageOf, unknown } from './doctor/finding.js'
import { checkProvider } from './doctor/provider.js'
import { checkStore } from './doctor/store.js'
import { clientOf, findTarget, TARGET_HELP, TARGET_OPTIONS } from './target.js'

const HELP = `Usage: oauth2client doctor [--client-secrets <file>] [--base-url <url>] [options]

Looks at the client secrets file, the client's key, redirect URIs, the provider's metadata, keys, TLS and clock, the store, and where it runs the
app's redirect and session cookie. One line each: what is there, or what is wrong and what to write. Changes nothing.

  npx fastify-oauth2client doctor --client-secrets client_secrets.json --base-url https://app.example.com

Options:
  --base-url <url>         the option "baseUrl" of the app; it is asked for its redirect to the provider
  --callback-path <path>   Default: /oauth2callback, with another --name /oauth2callback/<name>
  --authorize-path <path>  Default: /oauth2authorize, likewise
${TARGET_HELP}  --json                   [{ "level": "ok" | "warn" | "bad" | "unknown", "check": ..., "text": ... }]
  -h, --help               this text

Exit code 1 when something is bad.
`

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'looks for what is wrong with a set-up',
  help: HELP,
  options: {
    ...TARGET_OPTIONS,
    'base-url': { type: 'string' },
    'callback-path': { type: 'string' },
    'authorize-path': { type: 'string' },
    json: { type: 'boolean' },
  },
  async run(values, io) {
    const { 'base-url': baseUrl, name = 'oauth2', json = false } = values
    const suffix = name === 'oauth2' ? '' : `/${name}`
    if (baseUrl !== undefined && !/^https?:$/.test(URL.canParse(baseUrl) ? new URL(baseUrl).protocol : '')) {
      throw new UsageError('--base-url is no URL, such as https://app.example.com.')
    }
    const callback = baseUrl?.replace(/\/+$/, '').concat(values['callback-path'] ?? `/oauth2callback${suffix}`)
    const findings: Finding[] = []
    const tell = (...found: readonly Finding[]) => {
      findings.push(...found)
      if (!json) for (const one of found) io.stdout.write(`${text(one)}\n`)
    }
    const path = values['client-secrets']
    const { findings: ofFile, secrets } = await checkSecretsFile(path && resolve(io.cwd, path))
    tell(...ofFile, ...checkRedirects(secrets, callback))
    const keyPath = values['client-key']
    const { findings: ofKey, key } = checkClientKey(keyPath && resolve(io.cwd, keyPath), io)
    tell(...ofKey)
    const { provider, metadata } = await ofProvider(values, secrets, key, io, tell)
    if (baseUrl !== undefined && callback !== undefined) {
      const authorizePath = values['authorize-path'] ?? `/oauth2authorize${suffix}`
      tell(...(await checkApp({ baseUrl, authorizePath, callback, clientId: provider?.clientId, metadata })))
    }
    tell(...(await ofStore(values, provider, io)))
    if (json) io.stdout.write(`${JSON.stringify(findings)}\n`)
    return findings.some(({ level }) => level === 'bad') ? FAILED : OK
  },
})

type Values = Parameters<typeof findTarget>[0]

async function ofProvider(
  values: Values,
  secrets: ClientSecrets | undefined,
  clientKey: SigningKey | undefined,
  io: Io,
  tell: (...found: readonly Finding[]) => void,
): Promise<{ provider?: Provider; metadata?: ProviderMetadata }> {
  const client = clientOf(values, io)
  const unusable = client.clientSecretsFile !== undefined && !secrets
  if (unusable || (!client.provider && !client.clientSecretsFile)) {
    if (!unusable) tell(unknown('provider', 'which one? Write --client-secrets, --issuer or --provider.'))
    return {}
  }
  try {
    // Whoever only wants the provider looked at has no client yet.
    const { provider } = resolveProvider({
      clientId: secrets?.clientId ?? 'doctor',
      ...client,
      ...(clientKey === undefined ? {} : { clientKey }),
    })
    tell(...(await checkProvider(provider)))
    const metadata = await provider.metadata().catch(() => undefined)
    const known = client.clientId !== undefined || secrets !== undefined
    return { ...(known && { provider }), ...(metadata && { metadata }) }
  } catch (error) {
    tell(bad('provider', messageOf(error)))
    return {}
  }
}

async function ofStore(values: Values, provider: Provider | undefined, io: Io): Promise<Finding[]> {
  if (!provider) return [unknown('store', 'not looked at: records belong to a client, and which one is not known.')]
  try {
    const target = await findTarget(values, io)
    if (target) return await checkStore(target)
    return [unknown('store', 'there is none yet: "oauth2client login" makes one, or write --store.')]
  } catch (error) {
    return [bad('store', messageOf(error))]
  }
}

const text = ({ level, check, text }: Finding) => `${level.padEnd(7)}  ${check}: ${printable(text)}`
