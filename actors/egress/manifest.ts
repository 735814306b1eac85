import type { Manifest } from '../../kernel/index.ts'
import { registryPaths } from './registry-places.ts'

export const manifest = {
  kind: 'egress',
  purpose: 'The only way out: the model API, and what one policy allows to each session. Holds the model key.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    {
      name: 'policy',
      target: 'policy',
      limits: { kinds: ['watch'] },
      reason: 'reaches nothing that policy forbids, and cuts what it forbids later',
    },
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['audit'] },
      reason: 'puts on record what was allowed out and what was not',
    },
    {
      name: 'reader',
      target: 'reader',
      limits: { kinds: ['page', 'pdf'] },
      reason: 'has pages and PDF files read where there is nothing to take',
    },
    { name: 'consent', target: 'consent', limits: { kinds: ['ask-host'] }, reason: 'asks the member about a host that is not listed' },
  ],
  permissions({ state, userHome }) {
    const kept = `${String(state)}/`
    return { net: true, fsRead: [kept, ...registryPaths(String(userHome))], fsWrite: [kept] }
  },
  permissionReasons: {
    net: 'Reaches the model API and allowed hosts; serves the practice model on loopback.',
    fsRead: "Its own rules; which registries this machine's package managers are configured for.",
    fsWrite: "The member's egress rules.",
    secrets: 'Reads the model key from an inherited descriptor; no other process has it.',
  },
  fds: ['secrets'],
  keepsCode: 'Certificates, proxy scripts and documents need large libraries, which most of its lives do without: loaded when needed.',
  // Each tunnel may have a few pieces on their way.
  mailbox: 16_384,
  restart: { strategy: 'permanent' },
} satisfies Manifest
