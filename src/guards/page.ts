/** The small page that a person sees when something went wrong: what happened, and a way on. */
import { createHash } from 'node:crypto'
import type { Fields } from '../session/held-forms.js'

const STYLE = `:root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--text:#1c1e21;--soft:#565b63;--line:#d9dce1;--accent:#0b57d0;--on:#fff}
@media(prefers-color-scheme:dark){:root{--page:#131417;--card:#1c1e22;--text:#e8eaed;--soft:#a6abb3;--line:#3a3e45;--accent:#8ab4f8;--on:#10213f}}
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;align-content:center;padding:1rem;font:16px/1.55 system-ui,sans-serif;color:var(--text);background:var(--page);overflow-wrap:anywhere}
main{width:100%;max-width:32rem;margin:0 auto;padding:1.75rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .5rem;font-size:1.375rem;line-height:1.3}p{margin:0 0 1rem}ul{margin:0 0 1rem;padding-left:1.2rem}form{margin:0}
.way{display:block;width:100%;min-height:2.75rem;padding:.55rem 1rem;font:inherit;font-weight:600;text-align:center;text-decoration:none;color:var(--on);background:var(--accent);border:1px solid var(--accent);border-radius:.5rem;cursor:pointer}
form+form,form+p,p:has(.way)+p:has(.way){margin-top:.75rem}form+form .way,form+p .way,p:has(.way)+p .way{color:var(--accent);background:none}
dl{margin:0 0 1.25rem}dt{font-weight:600}dd{margin:0 0 .6rem;padding:.3rem .75rem;white-space:pre-wrap;border-left:3px solid var(--accent)}
small{color:var(--soft)}p:has(.way),p:last-child{margin-bottom:0}p:has(small){margin-top:1.25rem}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}`

/** Nothing is loaded, nothing runs, nobody frames it. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
})

/** A way on for people: a link, or with `fields` a form that posts them. */
export interface Way {
  readonly href: string
  readonly text: string
  readonly fields?: Fields
}

/**
 * The policy allows the one style of the page and no more. With a form, `form-action` is left out: browsers apply it to every
 * redirect after the form too, and the page that the person goes back to may lead on to the provider, or to another host.
 */
export function pagePolicy(ways: readonly Way[]): string {
  const forms = ways.some(({ fields }) => fields) ? '' : "form-action 'none'; "
  const hash = createHash('sha256').update(STYLE).digest('base64')
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; ${forms}frame-ancestors 'none'`
}

export interface Page {
  readonly title: string
  readonly message: string
  readonly items?: readonly string[]
  /** Of a form, shown as they are. */
  readonly fields?: Fields
  readonly ways: readonly Way[]
  readonly code?: string
}

export function renderPage({ title, message, items = [], fields = [], ways, code }: Page): string {
  const list =
    items.length > 0 ? `<ul>${items.map((item) => `<li>${escapeHtml(printable(item))}</li>`).join('')}</ul>` : ''
  const shown = fields.length > 0 ? `<dl>${fields.map(renderField).join('')}</dl>` : ''
  const note = code === undefined ? '' : `<p><small>${escapeHtml(code)}</small></p>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escapeHtml(title)}</h1><p>${escapeHtml(message)}</p>${list}${shown}${ways.map(renderWay).join('')}${note}</main></body></html>
`
}

function renderWay({ href, text, fields }: Way): string {
  if (!fields) return `<p><a class="way" href="${escapeHtml(href)}">${escapeHtml(text)}</a></p>`
  const inputs = fields.map(
    ([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  )
  return `<form method="post" action="${escapeHtml(href)}">${inputs.join('')}<button class="way">${escapeHtml(text)}</button></form>`
}

/** Nothing of it is left out, and nothing in it can make it look like something else. */
function renderField([name, value]: Fields[number]): string {
  const [term, detail] = [name, value].map((text) => escapeHtml(text.replace(INVISIBLE, '\uFFFD')))
  return `<dt>${term}</dt><dd>${detail}</dd>`
}

/** Control and direction characters, without line breaks, tabs and what joins letters. */
const INVISIBLE = /(?![\n\r\t\u200C\u200D])\p{C}/gu

/** Providers and their users choose some of what is listed: no control or direction characters, and not endless. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '').slice(0, 200)
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
