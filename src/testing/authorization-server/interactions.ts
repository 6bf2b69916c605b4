import type { Interaction, KoaContextWithOIDC, Provider } from 'oidc-provider'
import { acrFor } from './acr.js'
import { readBody } from './body.js'
import type { ConsentDesk } from './consent.js'
import { pageHeaders } from './html.js'
import { consentPage, errorPage, signInPage } from './pages.js'
import { type ScopeBook, splitScopes } from './scopes.js'
import { userOfName, userOfSub } from './users.js'

/**
 * The pages between an authorization request and its answer. A cookie of `oidc-provider` ties them to the browser that
 * started the request; forms from other sites are refused by their `Origin`.
 */

const ROUTE = /^\/interaction\/([\w-]+)(\/refuse)?$/

const PASSWORD = 'password'

export const interactionPath = (uid: string): string => `/interaction/${uid}`

type Context = Pick<
  KoaContextWithOIDC,
  'path' | 'method' | 'req' | 'res' | 'status' | 'type' | 'body' | 'get' | 'set'
> & {
  redirect(url: string): void
}

export interface InteractionParts {
  readonly provider: Provider
  readonly desk: ConsentDesk
  readonly scopes: ScopeBook
  readonly acrValues: readonly string[]
}

export function interactionPages({ provider, desk, scopes, acrValues }: InteractionParts) {
  const show = (ctx: Context, status: number, body: string, next?: unknown) => {
    ctx.status = status
    ctx.type = 'html'
    ctx.set(pageHeaders(next))
    ctx.body = body
  }

  const question = ({ params, session, prompt, grantId }: Interaction) =>
    desk.question({
      clientId: String(params.client_id),
      accountId: session?.accountId ?? '',
      sessionGrantId: grantId,
      // Names that the server does not know are no scopes here; `oidc-provider` drops them in silence as well.
      scopes: splitScopes(params.scope).filter((scope) => scopes.names.includes(scope)),
      again: prompt.reasons.includes('consent_prompt'),
    })

  const showSignIn = (ctx: Context, { uid, params }: Interaction, username: string, error?: string) => {
    const body = signInPage({
      action: interactionPath(uid),
      clientId: String(params.client_id),
      username,
      ...(error === undefined ? {} : { error }),
    })
    show(ctx, 200, body, params.redirect_uri)
  }

  const showConsent = async (ctx: Context, interaction: Interaction) => {
    const { uid, params, session } = interaction
    const user = userOfSub(session?.accountId ?? '') ?? userOfName('')
    const action = interactionPath(uid)
    const body = consentPage({
      action,
      refuseAction: `${action}/refuse`,
      user,
      question: await question(interaction),
      scopes,
    })
    show(ctx, 200, body, params.redirect_uri)
  }

  const goOn = (ctx: Context, url: string) => {
    ctx.redirect(url)
    ctx.status = 303
  }

  const refuse = async (ctx: Context) => {
    const result = { error: 'access_denied', error_description: 'the person refused' }
    goOn(ctx, await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: false }))
  }

  const signIn = async (ctx: Context, interaction: Interaction, form: URLSearchParams) => {
    const username = (form.get('username') ?? '').slice(0, 64)
    const user = userOfName(username)
    if (user.name === '') return showSignIn(ctx, interaction, username, 'Type a user name.')
    if (form.get('password') !== PASSWORD) {
      return showSignIn(ctx, interaction, username, 'That password is wrong. It is the word “password”.')
    }
    const { session, prompt, params } = interaction
    const acr = acrFor(params.acr_values, acrValues)
    const login = { accountId: user.sub, ...(acr === undefined ? {} : { acr }) }
    const result = { login, ...(prompt.name === 'select_account' && { select_account: {} }) }
    const returnTo = await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true })
    if (session !== undefined && session.accountId !== user.sub) await switchSession(session.uid, user.sub)
    goOn(ctx, returnTo)
  }

  // Left alone, `oidc-provider` shows a page in between that needs JavaScript, to sign the previous user out.
  const switchSession = async (uid: string, accountId: string) => {
    const session = await provider.Session.findByUid(uid)
    if (session === undefined) return
    session.accountId = accountId
    session.authorizations = undefined
    await session.persist()
  }

  const consent = async (ctx: Context, interaction: Interaction, form: URLSearchParams) => {
    const ticked = new Set(form.getAll('scope'))
    const result = await desk.answer(await question(interaction), (scope) => ticked.has(scope))
    if (result === undefined) return refuse(ctx)
    goOn(
      ctx,
      await provider.interactionResult(ctx.req, ctx.res, { consent: result }, { mergeWithLastSubmission: true }),
    )
  }

  return async (ctx: Context, next: () => Promise<unknown>): Promise<void> => {
    const [, uid, refusing] = ROUTE.exec(ctx.path) ?? []
    if (uid === undefined) return void (await next())
    if (ctx.method !== 'GET' && ctx.method !== 'POST') {
      return show(ctx, 405, errorPage('method_not_allowed'))
    }
    if (ctx.method === 'POST' && !sameOrigin(ctx, provider.issuer)) {
      return show(ctx, 403, errorPage('cross_site_form', 'This form was sent from another site.'))
    }
    const interaction = await provider.interactionDetails(ctx.req, ctx.res).catch(() => undefined)
    if (interaction?.uid !== uid) {
      return show(ctx, 400, errorPage('session_not_found', 'This page is out of date. Start again in the application.'))
    }
    const consenting = interaction.prompt.name === 'consent'
    if (ctx.method === 'GET') {
      if (consenting) return showConsent(ctx, interaction)
      return showSignIn(ctx, interaction, userOfName(String(interaction.params.login_hint ?? '')).name)
    }
    const form = new URLSearchParams(await readBody(ctx.req))
    if (refusing !== undefined) return refuse(ctx)
    return consenting ? consent(ctx, interaction, form) : signIn(ctx, interaction, form)
  }
}

/** Whether a form was sent from a page of this server, as far as the browser tells. */
function sameOrigin(ctx: Context, issuer: string): boolean {
  const origin = ctx.get('origin')
  return origin === '' || origin === new URL(issuer).origin
}
