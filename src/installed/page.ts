/** What the browser shows when the person comes back: one page for yes, one for no. */
import { createHash } from 'node:crypto'

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem;color:#1c1e21;background:#fff}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#17181a}}'
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** The address has a code in it: nobody keeps the page, nobody learns where it was. */
export const PAGE_HEADERS = Object.freeze({
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
})

export const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** @param text one paragraph for each line; a document of its own when it begins with `<!doctype html` */
export function renderPage(title: string, text: string): string {
  if (isDocument(text)) return text
  const paragraphs = text.split('\n').map((line) => `<p>${escapeHtml(line)}</p>`)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>${paragraphs.join('')}</main></body></html>
`
}

export function isDocument(text: string): boolean {
  return /^\s*<!doctype html\b/i.test(text)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
