/** Presets: what is known about well-known providers. */
export type { ProviderIdentity, ProviderMetadata, ProviderOptions, RotationProfile, ScopeRules } from '../preset.js'
export { google } from './google.js'
