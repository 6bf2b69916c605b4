/** The stylesheet, as a file of its own: the content security policy allows no styles inside of pages. */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

const STYLE = `:root {
  color-scheme: light dark;
  --page: #f6f7f6; --card: #fff; --text: #17211f; --soft: #55625f; --line: #d8dedc; --edge: #7b8a86;
  --accent: #0f766e; --accent-deep: #0b5d57; --on-accent: #fff; --wash: #e3f1ef;
  --good: #166534; --good-wash: #e2f4e7; --bad: #a61b1b; --bad-wash: #fbe7e5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101514; --card: #18201e; --text: #e6ecea; --soft: #a3b1ad; --line: #33403d; --edge: #7d8d89;
    --accent: #5ecfc2; --accent-deep: #8be0d6; --on-accent: #06211e; --wash: #16322f;
    --good: #86e0a3; --good-wash: #15301f; --bad: #ffa69e; --bad-wash: #3a1d1b;
  }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--page); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
header, main, footer { width: 100%; max-width: 58rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 1rem }
main { flex: 1; padding-top: 2rem; padding-bottom: 3rem }
footer { padding-top: 1rem; padding-bottom: 1.5rem; color: var(--soft); font-size: .875rem }
footer p { max-width: none; margin: 0; padding-top: 1rem; border-top: 1px solid var(--line) }
h1 { margin: 0; font-size: clamp(1.6rem, 1.2rem + 2vw, 2.2rem); line-height: 1.2; letter-spacing: -.015em; text-wrap: balance }
h2 { margin: 0 0 .5rem; font-size: 1.15rem; line-height: 1.3 }
h3 { margin: 1.25rem 0 .25rem; font-size: 1rem }
p { margin: 0 0 1rem; max-width: 40rem }
a { color: var(--accent); text-underline-offset: .2em }
a:hover { color: var(--accent-deep) }
code { font-size: .9em }
section + section { margin-top: 2rem }
.actions + h2 { margin-top: 2.5rem }
.lead { margin: .5rem 0 1.75rem; color: var(--soft); font-size: 1.1rem }
.soft { color: var(--soft); font-size: .9rem }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .25rem }
.skip { position: absolute; left: -100vw; top: .5rem; padding: .5rem 1rem; background: var(--card) }
.skip:focus { left: 1rem; z-index: 1 }

.bar { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; justify-content: space-between; min-height: 2.75rem }
.brand { color: var(--text); font-weight: 700; font-size: 1.1rem; text-decoration: none }
.account { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: center }
.who { color: var(--soft); font-size: .9rem }
nav { margin-top: .5rem; border-bottom: 1px solid var(--line) }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1.5rem; margin: 0; padding: 0; list-style: none }
nav a { display: block; padding: .6rem 0; color: var(--soft); text-decoration: none; border-bottom: 3px solid transparent; margin-bottom: -1px }
nav a:hover { color: var(--text) }
nav a[aria-current] { color: var(--text); font-weight: 600; border-bottom-color: var(--accent) }

.button, button { display: inline-block; min-height: 2.75rem; padding: .55rem 1.15rem; font: inherit; font-weight: 600; line-height: 1.5; text-align: center; text-decoration: none; color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .6rem; cursor: pointer }
.button:hover, button:hover { color: var(--on-accent); background: var(--accent-deep); border-color: var(--accent-deep) }
.quiet, .danger { color: var(--text); background: none; border-color: var(--edge) }
.quiet:hover { color: var(--text); background: var(--wash); border-color: var(--edge) }
.danger { color: var(--bad); border-color: var(--bad) }
.danger:hover { color: var(--bad); background: var(--bad-wash); border-color: var(--bad) }
.account button { padding: .4rem .9rem; font-weight: 500 }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0 }

.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: 1rem }
.card { margin: 0; padding: 1.25rem; background: var(--card); border: 1px solid var(--line); border-radius: .9rem }
.cards .card { display: flex; flex-direction: column }
.cards .actions { margin: auto 0 0 }
.card + .card { margin-top: 1rem }
.cards .card + .card { margin-top: 0 }
.state { align-self: start; width: fit-content; margin: 0 0 .75rem; padding: .15rem .65rem; font-size: .85rem; font-weight: 600; color: var(--soft); background: var(--page); border: 1px solid var(--line); border-radius: 1rem }
.state.yes { color: var(--good); background: var(--good-wash); border-color: transparent }
.state.no { color: var(--bad); background: var(--bad-wash); border-color: transparent }
.notice { padding: .85rem 1.1rem; background: var(--wash); border-left: 4px solid var(--accent); border-radius: .4rem }
.notice.bad { background: var(--bad-wash); border-color: var(--bad) }
.steps { max-width: 40rem; margin-top: .75rem; padding-left: 1.4rem }
.steps li { margin-bottom: .75rem; padding-left: .35rem }
.scopes { margin: 0; padding-left: 1.15rem }
.rows { margin: 1rem 0 0; padding: 0; list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: .9rem }
.rows li { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; align-items: baseline; padding: .8rem 1.1rem; white-space: pre-line }
.rows li + li { border-top: 1px solid var(--line) }
dl { margin: 0 0 1.25rem }
dl div { display: grid; grid-template-columns: 10rem 1fr; gap: 0 1rem; padding: .55rem 0; border-top: 1px solid var(--line) }
dl div:first-child { border-top: 0 }
dt { color: var(--soft) }
dd { margin: 0 }
.stack { display: grid; gap: .5rem; justify-items: start; max-width: 40rem; margin-bottom: 1rem }
label { font-weight: 600 }
textarea { width: 100%; padding: .65rem .8rem; font: inherit; color: inherit; background: var(--card); border: 1px solid var(--edge); border-radius: .6rem; resize: vertical }
@media (max-width: 34rem) {
  dl div { grid-template-columns: 1fr }
  nav ul { gap: 0 1.1rem }
  .cards .button { width: 100% }
  .rows li { display: block }
  .rows li span { display: block }
}
`

/** Changes with the stylesheet, so that browsers can keep it for good. */
export const STYLE_URL = `/style.css?v=${createHash('sha256').update(STYLE).digest('base64url').slice(0, 8)}`

export function styleRoutes(app: FastifyInstance): void {
  app.get('/style.css', (_request, reply) =>
    reply.type('text/css; charset=utf-8').header('cache-control', 'public, max-age=31536000, immutable').send(STYLE),
  )
}
