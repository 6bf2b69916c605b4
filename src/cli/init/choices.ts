/** What somebody chose for the app that `init` writes. */

/** Where credentials are kept. */
export const STORES = ['session', 'sqlite', 'postgres', 'redis'] as const
export type StoreName = (typeof STORES)[number]

export interface Choices {
  /** Of the app, as npm knows it. */
  readonly name: string
  readonly provider: ProviderChoice
  readonly store: StoreName
  readonly typescript: boolean
  /** Version ranges of packages, by their names. */
  readonly range: (name: string) => string
}

export interface ProviderChoice {
  /** What people call it. */
  readonly label: string
  /** The preset, or nothing for an issuer alone. */
  readonly preset?: string
  readonly issuer?: string
  /** Where an app is registered. */
  readonly console?: string
  /** Scopes that the plugin does not choose by itself. */
  readonly scopes?: readonly string[]
  /** A page that takes one more scope, and calls the provider's API. */
  readonly page?: ProviderPage
}

export interface ProviderPage {
  readonly path: string
  readonly scope: string
  /** In words. */
  readonly words: string
  readonly api: string
  readonly apiPath: string
  /** What the API answers when it is the one of the test server. */
  readonly example: string
}

type Known = Omit<ProviderChoice, 'preset' | 'issuer'>

const KNOWN: Readonly<Record<string, Known>> = {
  google: {
    label: 'Google',
    console: 'https://console.cloud.google.com/apis/credentials',
    page: {
      path: '/files',
      scope: 'https://www.googleapis.com/auth/drive.metadata.readonly',
      words: 'See the names of your files',
      api: 'https://www.googleapis.com',
      apiPath: '/drive/v3/files',
      example: "{ files: [{ id: '1', name: 'Letter.txt' }] }",
    },
  },
  github: {
    label: 'GitHub',
    console: 'https://github.com/settings/developers',
    page: {
      path: '/organizations',
      scope: 'read:org',
      words: 'See your organizations',
      api: 'https://api.github.com',
      apiPath: '/user/orgs',
      example: "[{ login: 'example' }]",
    },
  },
  microsoft: { label: 'Microsoft', console: 'https://entra.microsoft.com' },
  gitlab: { label: 'GitLab', console: 'https://gitlab.com/-/user_settings/applications' },
  slack: { label: 'Slack', console: 'https://api.slack.com/apps', scopes: ['users:read'] },
  signInWithSlack: { label: 'Slack', console: 'https://api.slack.com/apps' },
  discord: { label: 'Discord', console: 'https://discord.com/developers/applications' },
  twitch: { label: 'Twitch', console: 'https://dev.twitch.tv/console/apps' },
  notion: { label: 'Notion', console: 'https://www.notion.so/profile/integrations' },
  atlassian: { label: 'Atlassian', console: 'https://developer.atlassian.com/console/myapps' },
  salesforce: { label: 'Salesforce' },
  okta: { label: 'Okta' },
  auth0: { label: 'Auth0', console: 'https://manage.auth0.com' },
  keycloak: { label: 'Keycloak' },
}

/** @param preset as `/providers` calls it, if it is one of those */
export function providerChoice(preset: string | undefined, issuer: string | undefined): ProviderChoice {
  if (preset === undefined) return { label: new URL(issuer ?? '').host, issuer: issuer ?? '' }
  const { page, ...known } = KNOWN[preset] ?? { label: preset }
  // An installation elsewhere has its API elsewhere, too.
  const itsPage = page !== undefined && issuer === undefined ? { page } : {}
  return { preset, ...known, ...itsPage, ...(issuer === undefined ? {} : { issuer }) }
}

/** The extension of the app's files. */
export const extension = ({ typescript }: Choices): string => (typescript ? 'ts' : 'js')

/** Something that only TypeScript has: a type, or a declaration. */
export const onlyIn = ({ typescript }: Choices, text: string): string => (typescript ? text : '')

/** An import. Written by a function, so that nobody takes it for one of this package's own. */
export const imported = (what: string, from: string): string => `import ${what} from '${from}'`

/** A string as source text. */
export const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`
