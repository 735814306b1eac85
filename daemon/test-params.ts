/** What each actor of the product is started with, for tests that start one alone: made in a fresh folder. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const guestDir = fileURLToPath(new URL('../guest', import.meta.url))

export function paramsOf(kind: string, at: string): Record<string, unknown> {
  for (const name of ['mcp', 'extensions', 'incoming', 'plugins', 'audit', 'egress', 'vm', 'images', 'folder', 'server'])
    mkdirSync(join(at, name))
  const params: Readonly<Record<string, Record<string, unknown>>> = {
    policy: { platform: process.platform, home: at, user: 'ada', userHome: at },
    egress: { baseUrl: null, state: join(at, 'egress'), userHome: at },
    telemetry: { home: at },
    'mcp-host': { home: at, nodeBinary: process.execPath },
    gateway: { page: null },
    'vm-supervisor': {
      home: join(at, 'vm'),
      imageDir: join(at, 'images'),
      vm: 'off',
      guestDir,
      nodeBinary: process.execPath,
    },
    'fs-gate': { root: join(at, 'folder'), name: 'folder', mode: 'ro' },
    'mcp-server': {
      name: 'none',
      command: '/nonexistent/server',
      args: [],
      env: {},
      network: false,
      folders: [],
      code: [],
      data: join(at, 'server'),
      nodeBinary: process.execPath,
    },
    conversation: { session: 's-1', folders: [], hosts: [], now: 0, blocked: {} },
    consent: { changes: null },
    reader: {},
  }
  const found = params[kind]
  if (!found) throw new Error(`say what ${kind} is started with`)
  return found
}
