/** The small page that a person sees when something went wrong: what happened, and a way on. */
import { createHash } from 'node:crypto'

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem;color:#1c1e21;background:#fff}
h1{font-size:1.4rem;line-height:1.3}a{color:#0b57d0}.way{display:inline-block;margin-top:.5rem;padding:.55rem 1.1rem;border-radius:.5rem;background:#0b57d0;color:#fff;text-decoration:none}
ul{padding-left:1.2rem}small{color:#5f6368}@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#17181a}a{color:#8ab4f8}.way{background:#8ab4f8;color:#17181a}small{color:#9aa0a6}}`

/** Nothing is loaded, nothing runs, nobody frames it. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
})

/** The policy allows the one style of the page and no more. */
export function pagePolicy(): string {
  const hash = createHash('sha256').update(STYLE).digest('base64')
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
}

export interface Page {
  readonly title: string
  readonly message: string
  readonly items?: readonly string[]
  readonly link?: { readonly href: string; readonly text: string } | undefined
  readonly code: string
}

export function renderPage({ title, message, items = [], link, code }: Page): string {
  const list = items.length > 0 ? `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>` : ''
  const way = link ? `<p><a class="way" href="${escapeHtml(link.href)}">${escapeHtml(link.text)}</a></p>` : ''
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escapeHtml(title)}</h1><p>${escapeHtml(message)}</p>${list}${way}<p><small>${escapeHtml(code)}</small></p></main></body></html>
`
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
