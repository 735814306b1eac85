/** The MCP actors, and policy, which they heed, as a test kernel needs them to run in processes of their own. */
import { manifest as host } from '../../actors/mcp-host/manifest.ts'
import { protocol as hostProtocol } from '../../actors/mcp-host/protocol.ts'
import { manifest as server } from '../../actors/mcp-server/manifest.ts'
import { protocol as serverProtocol } from '../../actors/mcp-server/protocol.ts'
import { manifest as policy } from '../../actors/policy/manifest.ts'
import { protocol as policyProtocol } from '../../actors/policy/protocol.ts'
import { makeZip, manifestOf } from '../../actors/mcp-host/testing/bundles.ts'
import type { ActorEntry } from '../../kernel/placement.ts'
import type { Actor, Manifest, Protocol } from '../../kernel/types.ts'

export function mcpEntries(): ActorEntry[] {
  return [entry(policy, policyProtocol), entry(host, hostProtocol), entry(server, serverProtocol)]
}

function entry(manifest: Manifest, protocol: Protocol): ActorEntry {
  const url = new URL(`../../actors/${manifest.kind}/index.ts`, import.meta.url).href
  return { manifest, protocol, entry: url, load: async () => ((await import(url)) as { actor: Actor }).actor }
}

/** What a bundle brings along is its packer's doing; a server without any dependency stands for that. */
const program = `
  const answer = {
    initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'greeter', version: '1' } }),
    'tools/list': () => ({ tools: [{ name: 'greet', description: 'Greets.', inputSchema: { type: 'object' } }] }),
    'tools/call': () => ({ content: [{ type: 'text', text: 'hello ' + process.env.WHOM }] }),
  }
  let text = ''
  process.stdin.on('data', (chunk) => {
    const lines = (text + chunk).split('\\n')
    text = lines.pop()
    for (const { id, method, params } of lines.map((line) => JSON.parse(line)))
      if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: answer[method](params) }))
  })`
const manifest = manifestOf({
  user_config: { whom: { type: 'string', title: 'Whom', required: true } },
  server: {
    type: 'node',
    entry_point: 'server/index.mjs',
    mcp_config: { command: 'node', args: ['${__dirname}/server/index.mjs'], env: { WHOM: '${user_config.whom}' } },
  },
})
export function greeterBundle(): Buffer {
  return makeZip([
    { name: 'manifest.json', data: JSON.stringify(manifest) },
    { name: 'server/' },
    { name: 'server/index.mjs', data: program },
  ])
}
