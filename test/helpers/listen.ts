/** What is needed of a Fastify instance, whatever its logger and server types are. */
interface Listening {
  listen(options: { host: string; port: number }): Promise<string>
  readonly server: { address(): unknown }
}

/** Starts the app on a free port and gives the origin by its host name: `localhost` is what browsers keep cookies for. */
export async function listen(app: Listening): Promise<string> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  return `http://localhost:${port}`
}
