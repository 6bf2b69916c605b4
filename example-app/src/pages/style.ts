/** The stylesheet, as a file of its own: the content security policy allows no styles inside of pages. */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

const STYLE = `:root {
  color-scheme: light dark;
  --page: #f6f7f6; --card: #fff; --text: #17211f; --soft: #51605c; --line: #dde3e1; --edge: #74837f;
  --accent: #0f766e; --accent-deep: #0b5d57; --on-accent: #fff; --wash: #e3f1ef;
  --good: #14532d; --good-wash: #e2f4e7; --bad: #9f1d1d; --bad-wash: #fcebe9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101514; --card: #18201e; --text: #e6ecea; --soft: #a9b7b3; --line: #2d3936; --edge: #7d8d89;
    --accent: #5ecfc2; --accent-deep: #8be0d6; --on-accent: #06211e; --wash: #16322f;
    --good: #86e0a3; --good-wash: #15301f; --bad: #ffb0a8; --bad-wash: #3a1d1b;
  }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--page); color: var(--text); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
header, main, footer { width: 100%; max-width: 58rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 1rem }
main { flex: 1; padding-top: 2.5rem; padding-bottom: 4rem; outline: 0 }
footer { padding-bottom: 1.5rem; color: var(--soft); font-size: .875rem }
footer p { max-width: none; margin: 0; padding-top: 1rem; border-top: 1px solid var(--line) }
h1 { margin: 0; font-size: clamp(1.6rem, 1.2rem + 2vw, 2.1rem); line-height: 1.2; letter-spacing: -.015em; text-wrap: balance }
h2 { margin: 0 0 .5rem; font-size: 1.15rem; line-height: 1.35 }
h3 { margin: 1.5rem 0 .4rem; font-size: .95rem; line-height: 1.4 }
p { margin: 0 0 1rem; max-width: 40rem; text-wrap: pretty }
a { color: var(--accent); text-underline-offset: .2em }
a:hover { color: var(--accent-deep) }
code { font-size: .9em }
.lead { margin: .6rem 0 2rem; color: var(--soft); font-size: 1.075rem }
.soft { color: var(--soft); font-size: .9rem }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .3rem }
.skip { position: absolute; left: -100vw; top: .5rem; padding: .6rem 1rem; color: var(--text); background: var(--card) }
.skip:focus { left: 1rem; z-index: 1 }

.bar { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; justify-content: space-between; min-height: 2.75rem }
.brand { display: inline-flex; gap: .6rem; align-items: center; min-height: 2.75rem; color: var(--text); font-weight: 700; font-size: 1.1rem; text-decoration: none }
.brand::before { content: ""; width: .8rem; height: .8rem; background: var(--accent); border-radius: .25rem }
.account { display: flex; flex-wrap: wrap; gap: .25rem .9rem; align-items: center; justify-content: space-between }
.who { color: var(--soft); font-size: .9rem }
nav { margin-top: .5rem; border-bottom: 1px solid var(--line) }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1.6rem; margin: 0; padding: 0; list-style: none }
nav a { display: block; padding: .65rem 0; color: var(--soft); text-decoration: none; border-bottom: 3px solid transparent; margin-bottom: -1px }
nav a:hover { color: var(--text) }
nav a[aria-current] { color: var(--text); font-weight: 600; border-bottom-color: var(--accent) }

.button, button { display: inline-block; min-height: 2.75rem; padding: .55rem 1.15rem; font: inherit; font-weight: 600; line-height: 1.5; text-align: center; text-decoration: none; color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .6rem; cursor: pointer }
.button:hover, button:hover { color: var(--on-accent); background: var(--accent-deep); border-color: var(--accent-deep) }
.quiet, .danger { color: var(--text); background: none; border-color: var(--edge) }
.quiet:hover { color: var(--text); background: var(--wash); border-color: var(--edge) }
.danger { color: var(--bad); border-color: var(--bad) }
.danger:hover { color: var(--bad); background: var(--bad-wash); border-color: var(--bad) }
.account button { padding: .4rem .9rem; font-weight: 500 }
.actions { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: center; margin: 1.5rem 0 }

.card { margin: 0; padding: 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .9rem }
.card + .card, .actions + .card, .notice + .card { margin-top: 1.25rem }
.card > :last-child, .card > form:last-child > :last-child { margin-bottom: 0 }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: 1.25rem }
.cards .card { display: flex; flex-direction: column; margin: 0 }
.cards .actions { margin: auto 0 0; padding-top: .5rem }
.state { align-self: start; width: fit-content; margin: 0 0 1rem; padding: .15rem .7rem; font-size: .85rem; font-weight: 600; color: var(--soft); background: var(--page); border: 1px solid var(--line); border-radius: 1rem }
.state.yes { color: var(--good); background: var(--good-wash); border-color: transparent }
.state.no { color: var(--bad); background: var(--bad-wash); border-color: transparent }
.notice { max-width: none; margin-bottom: 1.5rem; padding: .9rem 1.15rem; background: var(--wash); border-left: 4px solid var(--accent); border-radius: .4rem }
.notice:focus { outline: 0 }
.notice.bad { background: var(--bad-wash); border-color: var(--bad) }
.notice a { display: inline-block; color: inherit }
.steps { max-width: 40rem; margin: .75rem 0 0; padding-left: 1.4rem }
.steps li { margin-bottom: .75rem; padding-left: .35rem }
.steps li:last-child { margin: 0 }
.scopes { margin: 0; padding-left: 1.15rem }
.uses { margin: 0; padding: 0; list-style: none }
.uses li { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; align-items: baseline; padding: .5rem 0 }
.uses li + li { border-top: 1px solid var(--line) }
.uses a { display: inline-block; padding: .15rem 0 }
.rows { margin: 1.25rem 0 0; padding: 0; list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: .9rem }
.rows li { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; align-items: baseline; padding: .85rem 1.25rem; white-space: pre-line }
.rows li + li { border-top: 1px solid var(--line) }
dl { margin: 1rem 0 0 }
dl div { display: grid; grid-template-columns: 10rem 1fr; gap: 0 1rem; padding: .6rem 0; border-top: 1px solid var(--line) }
dl div:first-child { border-top: 0 }
dl div:last-child { padding-bottom: 0 }
dt { color: var(--soft) }
dd { margin: 0 }
.ask-what { margin: 0; padding: 1rem 1.15rem; max-width: none; background: var(--wash); border-radius: .6rem }
.ask-what > * { display: block }
.ask-what strong { font-size: 1.1rem }
.choices { display: grid; grid-template-columns: max-content 1fr; gap: 1rem 1.25rem; align-items: center; margin-top: 1.25rem; padding-top: 1.5rem; border-top: 1px solid var(--line) }
.choices p { margin: 0 }
.choices .button, .choices button { width: 100% }
.stack { display: grid; gap: .5rem; justify-items: start; max-width: 40rem }
.stack p { margin: 0 0 .5rem }
.stack + .soft { margin-top: 1.25rem }
label { font-weight: 600 }
textarea { width: 100%; padding: .65rem .8rem; font: inherit; color: inherit; background: var(--page); border: 1px solid var(--edge); border-radius: .6rem; resize: vertical }
@media (max-width: 36rem) {
  main { padding-top: 1.75rem }
  .lead { margin-bottom: 1.5rem }
  .account { width: 100% }
  nav { padding-bottom: .75rem }
  nav ul { display: grid; grid-template-columns: repeat(3, 1fr); gap: .25rem }
  nav a { min-height: 2.75rem; padding: .55rem .25rem; font-size: .925rem; text-align: center; border: 0; border-radius: .5rem; margin: 0 }
  nav a[aria-current] { background: var(--wash) }
  .card { padding: 1.25rem }
  dl div { grid-template-columns: 1fr }
  .cards .button, main > .actions .button, main > .actions button { width: 100% }
  .choices { grid-template-columns: 1fr; gap: .6rem }
  .choices form { margin-top: .75rem }
  .rows li, .uses li { display: block }
  .rows li span, .uses li > span { display: block }
}
@media (prefers-reduced-motion: no-preference) {
  a, button { transition: color .12s, background-color .12s, border-color .12s }
}
@media (forced-colors: active) {
  .button, button, .state, .notice { border: 1px solid }
  nav a[aria-current] { text-decoration: underline }
}
`

/** Changes with the stylesheet, so that browsers can keep it for good. */
export const STYLE_URL = `/style.css?v=${createHash('sha256').update(STYLE).digest('base64url').slice(0, 8)}`

export function styleRoutes(app: FastifyInstance): void {
  app.get('/style.css', (_request, reply) =>
    reply.type('text/css; charset=utf-8').header('cache-control', 'public, max-age=31536000, immutable').send(STYLE),
  )
}
