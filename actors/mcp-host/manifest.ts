import { join } from 'node:path'
import type { Manifest } from '../../kernel/index.ts'

/** Everything below it. */
const folder = (path: string): string => `${path}/*`

export const manifest = {
  kind: 'mcp-host',
  purpose: 'Knows the tool servers of settings, plugins and extensions; decides which run and which of their tools are offered.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    { name: 'policy', target: 'policy', limits: { kinds: ['watch'] }, reason: 'runs no server and calls no tool that policy forbids' },
    {
      name: 'addons',
      target: 'addons',
      limits: { kinds: ['watch', 'open'] },
      reason: 'offers the tools of actors from outside that may run',
    },
    { name: 'kernel', target: 'kernel', limits: { kinds: ['spawn', 'stop'] }, reason: 'starts and ends an actor per tool server' },
  ],
  permissions({ home, publishersDir }) {
    const at = String(home)
    const own = [
      join(at, 'settings.json'),
      join(at, 'settings.json.new'),
      folder(join(at, 'mcp')),
      folder(join(at, 'extensions')),
      folder(join(at, 'incoming')),
    ]
    return {
      fsRead: [...own, folder(join(at, 'plugins')), folder(typeof publishersDir === 'string' ? publishersDir : '/etc/bulkhead/publishers')],
      fsWrite: own,
    }
  },
  permissionReasons: {
    fsRead: 'The settings, plugins, extensions and bundles to install; the certificates of trusted publishers.',
    fsWrite: 'Keeps the settings, what it unpacks, and the tool definitions that were approved.',
  },
  // Members and their editors replace the settings file.
  jail: { whole: ({ home }) => [String(home)] },
  restart: { strategy: 'permanent' },
} satisfies Manifest
