/**
 * Presets: what is known about well-known providers.
 *
 * @module
 */
export type {
  IdentityContext,
  ProviderIdentity,
  ProviderMetadata,
  ProviderOptions,
  RevocationContext,
  RotationProfile,
  ScopeRules,
} from '../preset.js'
export { atlassian } from './atlassian.js'
export { type Auth0Options, auth0 } from './auth0.js'
export { discord } from './discord.js'
export { github } from './github.js'
export { gitlab } from './gitlab.js'
export { google } from './google.js'
export { keycloak } from './keycloak.js'
export { type MicrosoftOptions, microsoft } from './microsoft.js'
export { notion } from './notion.js'
export { okta } from './okta.js'
export { type SalesforceOptions, salesforce } from './salesforce.js'
export type { IssuerOptions, PresetOptions } from './shared.js'
export { signInWithSlack, slack } from './slack.js'
export { twitch } from './twitch.js'
