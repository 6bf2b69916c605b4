import type { KoaContextWithOIDC } from 'oidc-provider'
import { html, page, pageHeaders } from './html.js'

/** Where a person enters the code that a device shows, and says whether it is theirs. RFC 8628 section 3.3. */

interface Action {
  readonly action: string
  /** The value that `oidc-provider` compares with the session. */
  readonly xsrf: string
}

function codePage({ action, xsrf, userCode, problem }: Action & { userCode: string; problem?: string }): string {
  return page(
    'Connect a device',
    html`${problem === undefined ? undefined : html`<p class="bad" role="alert" id="error">${problem}</p>`}
<form method="post" action="${action}">
<input type="hidden" name="xsrf" value="${xsrf}">
<label class="field">The code that the device shows
<input name="user_code" value="${userCode}" autocomplete="off" autocapitalize="characters" spellcheck="false" required maxlength="64" autofocus${problem === undefined ? undefined : html` aria-invalid="true" aria-describedby="error"`}></label>
<button type="submit">Go on</button>
</form>`,
  )
}

function confirmPage({ action, xsrf, userCode, clientId }: Action & { userCode: string; clientId: string }): string {
  const code = html`<input type="hidden" name="xsrf" value="${xsrf}">
<input type="hidden" name="user_code" value="${userCode}">`
  return page(
    'Is this your device?',
    html`<p><strong>${clientId}</strong> shows the code</p>
<p class="big"><code>${userCode}</code></p>
<form method="post" action="${action}">
${code}
<input type="hidden" name="confirm" value="yes">
<button type="submit">Yes, go on</button>
</form>
<form method="post" action="${action}">
${code}
<input type="hidden" name="abort" value="yes">
<button type="submit">No</button>
</form>`,
  )
}

function show(ctx: KoaContextWithOIDC, body: string): void {
  ctx.type = 'html'
  ctx.set(pageHeaders())
  ctx.body = body
}

function action({ oidc }: KoaContextWithOIDC): Action {
  return { action: oidc.urlFor('code_verification'), xsrf: String(oidc.session?.state?.secret ?? '') }
}

/** The part of the configuration of `oidc-provider` that is about devices. */
export const deviceFlow = {
  enabled: true,
  userCodeInputSource(
    ctx: KoaContextWithOIDC,
    _form: string,
    out?: object,
    error?: { userCode?: string; name: string },
  ) {
    const refused = error?.name === 'AbortedError'
    const problem = refused ? 'The device was not connected.' : 'This code is wrong, too old, or was used before.'
    const userCode = refused ? '' : (error?.userCode ?? '')
    show(ctx, codePage({ ...action(ctx), userCode, ...(error || out ? { problem } : {}) }))
  },
  userCodeConfirmSource(
    ctx: KoaContextWithOIDC,
    _form: string,
    client: { clientId: string },
    _deviceInfo: object,
    userCode: string,
  ) {
    show(ctx, confirmPage({ ...action(ctx), userCode, clientId: client.clientId }))
  },
  successSource(ctx: KoaContextWithOIDC) {
    show(ctx, page('Connected', html`<p>You can close this page and go back to your device.</p>`))
  },
}
