/** The frame of every page. */
import type { FastifyRequest } from 'fastify'
import { type Html, html } from '../html.js'
import { STYLE_URL } from './style.js'

export interface Page {
  readonly title: string
  /** The same with markup in it. */
  readonly heading?: Html
  /** One sentence below the title. */
  readonly lead?: string | Html
  readonly body?: Html
}

const LINKS = [
  ['/', 'Home'],
  ['/profile', 'Profile'],
  ['/files', 'Files'],
  ['/calendar', 'Calendar'],
  ['/connections', 'Connections'],
  ['/jobs/refresh', 'Job'],
] as const

const ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='8' fill='%230f766e'/><path d='M9 16.5l5 5 9-11' fill='none' stroke='white' stroke-width='3.5' stroke-linecap='round' stroke-linejoin='round'/></svg>"

export function renderPage(request: FastifyRequest, { title, heading, lead, body }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} – Example app</title>
<link rel="icon" href="${ICON}">
<link rel="stylesheet" href="${STYLE_URL}">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<div class="bar">
<a class="brand" href="/">Example app</a>
${account(request)}
</div>
<nav aria-label="Pages">
<ul>
${LINKS.map(
  ([path, text]) =>
    html`<li><a href="${path}"${request.routeOptions.url === path && html` aria-current="page"`}>${text}</a></li>`,
)}
</ul>
</nav>
</header>
<main id="main" tabindex="-1">
<h1>${heading ?? title}</h1>
${lead !== undefined && html`<p class="lead">${lead}</p>`}
${body}
</main>
<footer>
<p>An example for <code>fastify-oauth2client</code>. It works without JavaScript.</p>
</footer>
</body>
</html>
`.text
}

/** Whoever is signed in, and the way out. */
function account(request: FastifyRequest): Html | undefined {
  if (!isSignedIn(request)) return undefined
  const { oauth2, server } = request
  return html`<form class="account" method="post" action="${server.oauth2.logoutPath}">
<input type="hidden" name="_csrf" value="${oauth2.xsrfToken}">
<span class="who">${oauth2.email ?? oauth2.userId ?? 'Signed in'}</span>
<button class="quiet" type="submit">Sign out</button>
</form>`
}

/** Whether there are stored credentials, even if the person has to renew them. False where nothing was loaded. */
export function isSignedIn(request: FastifyRequest): boolean {
  try {
    return request.oauth2.accounts().length > 0
  } catch {
    return false
  }
}
