/** A home of the product whose model is a script of the test's. */
import { type Home, openHome } from './product.ts'
import { type ScriptedServer, startScriptedServer } from './scripted-messages-server.ts'

export type ScriptedHome = { home: Home; server: ScriptedServer; close(): Promise<void> }

export async function openScriptedHome(env: NodeJS.ProcessEnv = {}): Promise<ScriptedHome> {
  const server = await startScriptedServer()
  const home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up', ...env } })
  return {
    home,
    server,
    async close() {
      await home.close()
      await server.close()
    },
  }
}
