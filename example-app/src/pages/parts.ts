/** Pieces that several pages use. */
import { type Html, html } from '../html.js'
import { type Service, usesOf } from '../services.js'

/** Permissions in words. */
export function scopeList(scopes: readonly string[], { words }: Service): Html {
  if (scopes.length === 0) return html`<p>None.</p>`
  return html`<ul class="scopes">
${scopes.map((scope) => html`<li>${words[scope] ?? scope}</li>`)}
</ul>`
}

/** The same, each with the page that needs it. */
export function scopeUses(scopes: readonly string[], service: Service): Html {
  const uses = usesOf(service)
  return html`<ul class="uses">
${scopes.map((scope) => {
  const use = uses[scope]
  return html`<li><span>${service.words[scope] ?? scope}</span>${
    use !== undefined && html` <span class="soft">used for <a href="${use.path}">${use.name}</a></span>`
  }</li>`
})}
</ul>`
}

/** What came of something that the person did. It takes the focus, so that it is read out when the page is there. */
export function notice(text: string | Html, bad = false): Html {
  return html`<p class="notice${bad && ' bad'}" role="status" tabindex="-1" autofocus>${text}</p>`
}

const STEPS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
] as const

/** A time as people say it. The server does not know their time zone. */
export function when(time: number, now = Date.now()): Html {
  const distance = time - now
  const [unit, size] = STEPS.find(([, step]) => Math.abs(distance) >= step) ?? STEPS[3]
  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(Math.trunc(distance / size), unit)
  return html`<time datetime="${new Date(time).toISOString()}">${words}</time>`
}

/** A day, and the time of it where there is one. */
export function dateOf(text: string): Html {
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) return html`${text}`
  const wholeDay = /^\d{4}-\d\d-\d\d$/.test(text)
  const words = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    timeZone: 'UTC',
    ...(!wholeDay && { hour: '2-digit', minute: '2-digit', timeZoneName: 'short' }),
  }).format(date)
  return html`<time datetime="${text}">${words}</time>`
}
