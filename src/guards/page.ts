/** The small page that a person sees when something went wrong: what happened, and a way on. */
import { createHash } from 'node:crypto'
import type { Fields } from '../session/held-forms.js'

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem;color:#1c1e21;background:#fff}
h1{font-size:1.4rem;line-height:1.3}a{color:#0b57d0}.way{display:inline-block;margin-top:.5rem;padding:.55rem 1.1rem;border-radius:.5rem;background:#0b57d0;color:#fff;text-decoration:none;border:1px solid #0b57d0;font:inherit;cursor:pointer}
form+form .way,form+p .way{background:none;color:#0b57d0}
dt{font-weight:600}dd{margin:0 0 .6rem;padding:.3rem .6rem;max-height:12rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #0b57d0}
ul{padding-left:1.2rem}small{color:#5f6368}@media(prefers-color-scheme:dark){body{color:#e8eaed;background:#17181a}a{color:#8ab4f8}.way{background:#8ab4f8;border-color:#8ab4f8;color:#17181a}form+form .way,form+p .way{background:none;color:#8ab4f8}small{color:#9aa0a6}}`

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
