import { createHash } from 'node:crypto'

/** The frame of every page: escaping, the stylesheet and the headers that go with them. */

/** Text that is HTML already. */
export class Html {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

type Part = string | Html | readonly Html[] | undefined

function toHtml(part: Part): string {
  if (part === undefined) return ''
  if (part instanceof Html) return part.text
  if (typeof part !== 'string') return part.map((each) => each.text).join('\n')
  return part.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)
}

/** Escapes whatever is put into the template, unless it is HTML from this function. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((text, literal, index) => text + toHtml(parts[index - 1]) + literal))
}

const STYLE = `
:root{color-scheme:light dark;--bg:#f3f4f6;--card:#fff;--text:#1c2330;--soft:#5a6475;--line:#c9ced8;--edge:#7d8696;--accent:#2456c7;--on:#fff;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#14171d;--card:#1e232c;--text:#e8ebf1;--soft:#a5aebd;--line:#4a5363;--edge:#7f8a9c;--accent:#8db1ff;--on:#10213f;--bad:#ff9a92}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--bg);color:var(--text);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
main{width:100%;max-width:27rem;padding:1.75rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .5rem;font-size:1.375rem;line-height:1.25}
p{margin:0 0 1rem}
code{overflow-wrap:anywhere;font-size:.875em}
.soft{color:var(--soft);font-size:.875rem}
.bad{color:var(--bad)}
label.field{display:block;margin:0 0 1rem;font-weight:600}
label.field input{display:block;width:100%;margin-top:.25rem;padding:.625rem .75rem;font:inherit;font-weight:400;color:inherit;background:var(--card);border:1px solid var(--edge);border-radius:.5rem}
label.field input[aria-invalid]{border-color:var(--bad)}
fieldset{min-width:0;margin:1.25rem 0;padding:0;border:0}
legend,h2{margin:0 0 .25rem;padding:0;font-size:1rem;font-weight:600}
ul{margin:0 0 1rem;padding-left:1.25rem}
ul+h2{margin-top:1.25rem}
label.tick{display:flex;cursor:pointer;gap:.75rem;align-items:flex-start;padding:.625rem 0;border-top:1px solid var(--line)}
label.tick input{width:1.25rem;height:1.25rem;margin:.125rem 0 0;flex:none;accent-color:var(--accent)}
label.tick code{display:block;color:var(--soft);font-size:.8125rem}
button{width:100%;min-height:2.75rem;padding:.5rem 1rem;font:inherit;font-weight:600;color:var(--on);background:var(--accent);border:1px solid var(--accent);border-radius:.5rem;cursor:pointer}
form+form{margin-top:.75rem}
form+form button{color:var(--accent);background:none;border-color:var(--edge)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
p.big code{font-size:1.5rem;letter-spacing:.1em}
.foot{margin:1.25rem 0 0;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.8125rem}
`

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

export function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
<p class="foot">This is a local test server. Its accounts are made up; do not type a real password here.</p>
</main>
</body>
</html>
`.text
}

/**
 * The headers of a page. `next` is where its forms lead in the end: browsers hold redirects that follow a form to
 * `form-action` as well.
 */
export function pageHeaders(next?: unknown): Record<string, string> {
  return {
    'Cache-Control': 'no-store',
    'Content-Security-Policy': [
      "default-src 'none'",
      `style-src 'sha256-${STYLE_HASH}'`,
      'img-src data:',
      `form-action 'self'${formTarget(next)}`,
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
    'Referrer-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
  }
}

function formTarget(next: unknown): string {
  if (typeof next !== 'string' || !URL.canParse(next)) return ''
  const { protocol, host, hostname } = new URL(next)
  if (protocol !== 'http:' && protocol !== 'https:') return ` ${protocol}`
  // Policies have no syntax for IPv6 addresses.
  return hostname.startsWith('[') ? ` ${protocol}` : ` ${protocol}//${host}`
}
