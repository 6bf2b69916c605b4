import { type Html, html } from '../html.js'
import type { Page } from './layout.js'

const TITLES: Readonly<Record<string, string>> = {
  API_ERROR: 'The other side did not answer as it should',
  FORM_INVALID: 'This form was not accepted',
  NOT_FOUND: 'Not found',
  FST_OAUTH2_SCOPE_DECLINED: 'A permission is missing',
  FST_OAUTH2_CREDENTIALS_REQUIRED: 'Please sign in again',
}

export interface WayOn {
  readonly link?: string | undefined
  /** What the link says. */
  readonly text?: string | undefined
  /** The permissions that the link asks for. */
  readonly missing?: Html
}

export function errorPage(
  error: { readonly code: string; readonly message: string },
  { link, text, missing }: WayOn = {},
): Page {
  return {
    title: TITLES[error.code] ?? 'This did not work',
    lead: error.message,
    body: html`${missing !== undefined && html`<div class="card">${missing}</div>`}
<p class="actions">
${link !== undefined && html`<a class="button" href="${link}">${text ?? (missing ? 'Ask again' : 'Continue')}</a>`}
<a class="button${link !== undefined && ' quiet'}" href="/">Home</a>
</p>
<p class="soft"><code>${error.code}</code></p>`,
  }
}
