/** Which tests are tried first on which sources, and which on what those let live. Folders, or the start of a file's path. */

const NEAR = [
  [/^src\/session\/return-url/, ['session/return-url', 'attacks/return-urls']],
  [
    /^src\/(?:session\/(?:answer|held|logout|seen)|routes\/(?:answer|backchannel|logout|resume))/,
    ['attacks/resumed', 'attacks/logout', 'attacks/high', 'routes/backchannel', 'routes/logout', 'flows/high'],
  ],
  [
    /^src\/session\//,
    [
      'routes/authorize',
      'routes/callback',
      'session/session-plugins',
      'session/move',
      'attacks/planted',
      'attacks/sessions',
      'attacks/browsers',
      'attacks/step-up',
      'guards/loops',
      'session/tabs',
    ],
  ],
  [/^src\/guards\/declared/, ['guards/guard-options', 'plugin/declarative', 'plugin/several', 'guards/handler']],
  [/^src\/guards\/navigation/, ['guards/navigation', 'attacks/guards', 'attacks/resumed', 'routes/authorize']],
  [/^src\/guards\/resume/, ['attacks/resumed', 'guards/navigation']],
  [/^src\/guards\/step-up/, ['attacks/step-up', 'integration/step-up', 'plugin/request']],
  [
    /^src\/guards\/(?:answer|page)/,
    [
      'guards/navigation',
      'guards/error',
      'attacks/provider-errors',
      'attacks/browsers',
      'attacks/resumed',
      'attacks/high',
      'attacks/planted',
      'guards/handler',
      'routes/callback',
      'routes/logout',
      'guards/',
    ],
  ],
  [
    /^src\/guards\//,
    [
      'guards/guard-options',
      'guards/error',
      'guards/navigation',
      'guards/handler',
      'guards/loops',
      'guards/granted',
      'attacks/guards',
      'attacks/step-up',
      'plugin/user-key',
      'plugin/several',
      'plugin/declarative',
      'plugin/request',
      'attacks/resumed',
      'guards/',
      'attacks/planted',
      'attacks/whose',
      'credentials/cache',
      'credentials/events',
      'integration/counts',
    ],
  ],
  [
    /^src\/routes\//,
    ['routes/', 'attacks/planted', 'attacks/mix-up', 'attacks/codes', 'attacks/browsers', 'plugin/user-key'],
  ],
  [/^src\/flows\/verify/, ['flows/verify', 'attacks/id-tokens', 'attacks/logout']],
  [
    /^src\/flows\//,
    [
      'flows/',
      'attacks/provider',
      'attacks/mix-up',
      'attacks/codes',
      'attacks/high',
      'attacks/logout',
      'routes/logout',
    ],
  ],
]

/** Everything that runs in one process and needs no server, no browser and no random input. */
const WIDE = [
  'session/',
  'routes/',
  'guards/',
  'attacks/',
  'flows/',
  'plugin/',
  'integration/',
  'installed/',
  'xsrf/',
  'options/',
  'conformance/',
]

/** Other processes see no mutant, and what measures memory or lists files has nothing to say about one. */
export const NEVER = [
  'test/attacks/{abuse,closing,client-certificates,coverage}.test.ts',
  'test/flows/another-process.test.ts',
]

export const wide = globs(WIDE)

/** @returns the globs of the tests, as one string, which also names the group of sources that have the same ones */
export function near(source) {
  return globs(NEAR.find(([pattern]) => pattern.test(source))?.[1] ?? WIDE)
}

/** @param starts folders, or the start of a file's path */
export function globs(starts) {
  return starts.map((start) => `test/${start}${start.endsWith('/') ? '**/*' : '*'}.test.ts`).join(' ')
}
