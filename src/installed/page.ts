/** What the browser shows when the person comes back: one page for yes, one for no. */
import { createHash } from 'node:crypto'

const STYLE =
  ':root{color-scheme:light dark}*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;align-content:center;padding:1rem;font:16px/1.55 system-ui,sans-serif;color:#1c1e21;background:#f4f5f7;overflow-wrap:anywhere}main{width:100%;max-width:32rem;margin:0 auto;padding:1.75rem;background:#fff;border:1px solid #d9dce1;border-radius:.75rem}h1{margin:0 0 .5rem;font-size:1.375rem;line-height:1.3}p{margin:0}p+p{margin-top:1rem}@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#131417}main{background:#1c1e22;border-color:#3a3e45}}'
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
