/** Every actor of the product, as the kernel needs to know it: manifest and protocol now, code only where it runs. */
import { manifest as consent } from '../actors/consent/manifest.ts'
import { protocol as consentProtocol } from '../actors/consent/protocol.ts'
import { manifest as conversation } from '../actors/conversation/manifest.ts'
import { protocol as conversationProtocol } from '../actors/conversation/protocol.ts'
import { manifest as egress } from '../actors/egress/manifest.ts'
import { protocol as egressProtocol } from '../actors/egress/protocol.ts'
import { manifest as fsGate } from '../actors/fs-gate/manifest.ts'
import { protocol as fsGateProtocol } from '../actors/fs-gate/protocol.ts'
import { manifest as gateway } from '../actors/gateway/manifest.ts'
import { protocol as gatewayProtocol } from '../actors/gateway/protocol.ts'
import { manifest as policy } from '../actors/policy/manifest.ts'
import { protocol as policyProtocol } from '../actors/policy/protocol.ts'
import { manifest as mcpHost } from '../actors/mcp-host/manifest.ts'
import { protocol as mcpHostProtocol } from '../actors/mcp-host/protocol.ts'
import { manifest as mcpServer } from '../actors/mcp-server/manifest.ts'
import { protocol as mcpServerProtocol } from '../actors/mcp-server/protocol.ts'
import { manifest as reader } from '../actors/reader/manifest.ts'
import { protocol as readerProtocol } from '../actors/reader/protocol.ts'
import { manifest as telemetry } from '../actors/telemetry/manifest.ts'
import { protocol as telemetryProtocol } from '../actors/telemetry/protocol.ts'
import { manifest as vmSupervisor } from '../actors/vm-supervisor/manifest.ts'
import { protocol as vmSupervisorProtocol } from '../actors/vm-supervisor/protocol.ts'
import type { ActorEntry } from '../kernel/placement.ts'
import type { Actor, Manifest, Protocol } from '../kernel/types.ts'

function entry(manifest: Manifest, protocol: Protocol): ActorEntry {
  const url = new URL(`../actors/${manifest.kind}/index.ts`, import.meta.url).href
  return { manifest, protocol, entry: url, load: async () => ((await import(url)) as { actor: Actor }).actor }
}

/** In start order: what others depend on comes first, and stops last. */
export const entries: readonly ActorEntry[] = [
  entry(telemetry, telemetryProtocol),
  entry(policy, policyProtocol),
  entry(reader, readerProtocol),
  entry(egress, egressProtocol),
  entry(vmSupervisor, vmSupervisorProtocol),
  entry(mcpHost, mcpHostProtocol),
  entry(consent, consentProtocol),
  entry(gateway, gatewayProtocol),
  entry(fsGate, fsGateProtocol),
  entry(mcpServer, mcpServerProtocol),
  entry(conversation, conversationProtocol),
]
