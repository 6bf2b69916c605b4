/** People whose browsers ask for many things at once, from a process of its own. */
import { Browser } from './browser.mjs'
import { median } from './statistics.mjs'

const headers = { accept: 'application/json' }
const spreadOver = (urls, count) => Array.from({ length: count }, (_, index) => urls[index % urls.length])

export async function start() {
  const browsers = new Map()

  async function timed(what) {
    const began = performance.now()
    return { answer: await what(), took: performance.now() - began }
  }

  return {
    commands: {
      async signIn({ person, url }) {
        const browser = new Browser()
        browsers.set(person, browser)
        const { status, body } = await browser.go(url)
        if (status !== 200) throw new Error(`${url}: ${status} ${body}`)
      },

      /** Milliseconds of one token request, which a token that never was costs as much as any. */
      async tokenRequest(url) {
        const times = []
        for (let left = 5; left > 0; left--) {
          const body = 'grant_type=refresh_token&refresh_token=none'
          times.push((await timed(() => new Browser().go(url, { method: 'POST', body }))).took)
        }
        return median(times)
      },

      /** All at once, by turns where there are several URLs. */
      async storm({ person, urls, requests }) {
        // What is measured is not how connections are opened.
        await Promise.all(spreadOver(urls, requests).map((url) => new Browser().go(new URL('/nothing', url))))
        const browser = browsers.get(person)
        const { answer: answers, took } = await timed(() =>
          Promise.all(spreadOver(urls, requests).map((url) => browser.go(url, { headers, redirects: 0 }))),
        )
        const good = answers.filter(({ status }) => status === 200)
        return { took, failed: answers.length - good.length, tokens: new Set(good.map(({ body }) => body)).size }
      },

      async goesOn({ person, url }) {
        const { status } = await browsers.get(person).go(url, { headers, redirects: 0 })
        return status === 200
      },
    },
  }
}
