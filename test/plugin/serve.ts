/** An app that a test puts together itself, in the order that it is about. */
import Fastify, { type FastifyInstance } from 'fastify'
import { onTestFinished } from 'vitest'
import type { OAuth2ClientOptions } from '../../src/index.js'
import { Browser } from '../helpers/browser.js'
import { listen } from '../helpers/listen.js'
import { type ScriptedProvider, startScriptedProvider } from '../helpers/scripted-provider.js'
import { type SessionVariant, sessionVariants } from '../helpers/session-plugins.js'

export async function scriptedProvider(): Promise<ScriptedProvider> {
  const provider = await startScriptedProvider()
  onTestFinished(() => provider.close())
  return provider
}

export function optionsFor(provider: ScriptedProvider, more: Partial<OAuth2ClientOptions> = {}): OAuth2ClientOptions {
  return {
    provider: { issuer: provider.issuer },
    clientId: provider.clientId,
    clientSecret: provider.clientSecret as string,
    ...more,
  }
}

/** Sessions are there already; everything else is for `setUp` to register. */
export async function serve(
  setUp: (app: FastifyInstance) => void,
  variant: SessionVariant = sessionVariants[0] as SessionVariant,
): Promise<{ app: FastifyInstance; url: string; browser: Browser }> {
  const app = Fastify()
  onTestFinished(() => app.close())
  variant.register(app)
  setUp(app)
  return { app, url: await listen(app), browser: new Browser() }
}
