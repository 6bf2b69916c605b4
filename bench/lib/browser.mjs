/** A browser as far as a sign-in needs one: redirects, and the cookies of one host, which know no ports. */
import { Agent, request } from 'node:http'

const agent = new Agent({ keepAlive: true, maxSockets: 256 })

export class Browser {
  #jar = new Map()

  /** @returns the last answer: `status`, `headers`, `body`, `url` */
  async go(url, { method = 'GET', headers = {}, body, redirects = 20 } = {}) {
    const answer = await this.#ask(new URL(url), method, headers, body)
    const { location } = answer.headers
    if (answer.status < 300 || answer.status > 399 || !location || redirects === 0) return answer
    return this.go(new URL(location, url), { headers, redirects: redirects - 1 })
  }

  /** The cookies, as a header. */
  get cookie() {
    return [...this.#jar].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  #ask(url, method, headers, body) {
    const { cookie } = this
    return new Promise((resolve, reject) => {
      const sending = request(
        url,
        { method, agent, headers: { accept: 'text/html', ...(cookie ? { cookie } : {}), ...headers } },
        (response) => {
          for (const line of response.headers['set-cookie'] ?? []) this.#keep(line)
          const chunks = []
          response.on('data', (chunk) => chunks.push(chunk))
          response.on('end', () =>
            resolve({
              status: response.statusCode,
              headers: response.headers,
              url,
              body: String(Buffer.concat(chunks)),
            }),
          )
        },
      )
      sending.once('error', reject)
      sending.end(body)
    })
  }

  #keep(line) {
    const [pair, ...attributes] = line.split(';')
    const [name, ...value] = pair.split('=')
    const over = attributes.some((part) => /^\s*(max-age=0|expires=Thu, 01 Jan 1970)/i.test(part))
    if (over) this.#jar.delete(name)
    else this.#jar.set(name, value.join('='))
  }
}
