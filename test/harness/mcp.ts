/** The MCP actors, and policy, which they heed, as a test kernel needs them to run in processes of their own. */
import { manifest as host } from '../../actors/mcp-host/manifest.ts'
import { protocol as hostProtocol } from '../../actors/mcp-host/protocol.ts'
import { manifest as server } from '../../actors/mcp-server/manifest.ts'
import { protocol as serverProtocol } from '../../actors/mcp-server/protocol.ts'
import { manifest as policy } from '../../actors/policy/manifest.ts'
import { protocol as policyProtocol } from '../../actors/policy/protocol.ts'
import type { ActorEntry } from '../../kernel/placement.ts'
import type { Actor, Manifest, Protocol } from '../../kernel/types.ts'

export function mcpEntries(): ActorEntry[] {
  return [entry(policy, policyProtocol), entry(host, hostProtocol), entry(server, serverProtocol)]
}

function entry(manifest: Manifest, protocol: Protocol): ActorEntry {
  const url = new URL(`../../actors/${manifest.kind}/index.ts`, import.meta.url).href
  return { manifest, protocol, entry: url, load: async () => ((await import(url)) as { actor: Actor }).actor }
}
