/** `bulkhead mcp …` and `bulkhead extension …`: tool servers in words, and steering them. */
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { ServerView } from '../actors/mcp-host/protocol.ts'
import { fault, type Fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import type { McpCommand } from './mcp-args.ts'
import { oneLine, printable } from './printable.ts'

type Io = { home: string; out(text: string): void }

/** @returns the exit code */
export async function mcp(daemon: Daemon, command: McpCommand, { home, out }: Io): Promise<number> {
  const tell = (value: unknown, text: string): void => out(command.json ? `${JSON.stringify(value)}\n` : printable(text))
  if (command.verb === 'extension') return extension(daemon, command, home, tell)
  switch (command.action) {
    case 'list': {
      const { servers } = await daemon.call<{ servers: ServerView[] }>('mcp/servers')
      tell({ servers }, servers.length === 0 ? 'No tool servers.\n' : servers.map(serverText).join('\n'))
      break
    }
    case 'add':
      await daemon.call('mcp/add', command.server)
      tell({ added: command.server.name }, `${command.server.name} is added${command.server.network ? '' : ', without network'}.\n`)
      break
    case 'approve': {
      const { approved } = await daemon.call<{ approved: string[] }>('mcp/approve', { name: command.name })
      tell({ approved }, approved.length === 0 ? 'There was nothing to approve.\n' : `Approved: ${approved.join(', ')}\n`)
      break
    }
    case 'remove':
    case 'restart':
      await daemon.call(`mcp/${command.action}`, { name: command.name })
      tell(
        { [command.action === 'remove' ? 'removed' : 'restarted']: command.name },
        `${command.name} is ${command.action === 'remove' ? 'removed' : 'running again'}.\n`,
      )
      break
    case 'tool-mode': {
      const { tool, mode } = command
      await daemon.call('mcp/tool-mode', { tool, mode })
      tell({ tool, mode }, `${tool}: ${mode}\n`)
      break
    }
    default:
      command satisfies never
  }
  return exitCodes.done
}

async function extension(
  daemon: Daemon,
  command: McpCommand & { verb: 'extension' },
  home: string,
  tell: (value: unknown, text: string) => void,
): Promise<number> {
  switch (command.action) {
    case 'list': {
      const { servers } = await daemon.call<{ servers: ServerView[] }>('mcp/servers')
      const extensions = servers.filter(({ source }) => source === 'extension')
      tell({ extensions }, extensions.length === 0 ? 'No extensions.\n' : extensions.map(serverText).join('\n'))
      break
    }
    case 'install': {
      const { config, network } = command
      type Installed = { id: string; version: string; signature: string; missing: string[] }
      const installed = await daemon.call<Installed>('mcp/install-extension', { path: handOver(command.file, home), config, network })
      const { id, version, signature, missing } = installed
      const needs =
        missing.length === 0
          ? ''
          : `It needs settings before it can start: install it again with ${missing.map((key) => `--config ${key}=…`).join(' ')}.\n`
      tell(installed, `${id} ${version} is installed (${signature})${network ? '' : ', without network'}.\n${needs}`)
      break
    }
    case 'remove':
      await daemon.call('mcp/remove-extension', { id: command.id })
      tell({ removed: command.id }, `${command.id} is removed.\n`)
      break
    default:
      command satisfies never
  }
  return exitCodes.done
}

/** The MCP host reads bundles from one folder only; the member, who may read the file, puts it there. */
function handOver(file: string, home: string): string {
  const incoming = join(home, 'incoming')
  const path = join(incoming, `${randomBytes(8).toString('hex')}${extname(file)}`)
  try {
    mkdirSync(incoming, { recursive: true, mode: 0o700 })
    copyFileSync(file, path)
    return path
  } catch (error) {
    throw fault('io-failed', `${file} cannot be read.`, { cause: error instanceof Error ? error.message : String(error) })
  }
}

function serverText(server: ServerView): string {
  const { name, origin, command, state, error, isolation, isolationReason, network, folders, pid, restarts, info, signature, tools } =
    server
  const reach = [network ? 'network' : 'no network', ...folders.map(({ path, mode }) => `${path} (${mode})`)].join(', ')
  const rows: [string, string | null][] = [
    ['From', origin],
    ['Runs', command || null],
    ['Server', info && `${info.name} ${info.version}, MCP ${info.protocol}`],
    ['Process', pid === null ? null : `${pid}, ${restarts} restart${restarts === 1 ? '' : 's'}`],
    ['Isolation', isolation && isolationReason ? `${isolation}: ${isolationReason}` : isolation],
    ['Can reach', reach],
    ['Signature', signature && signature.detail],
    ['Why', error ? faultText(error as Fault) : null],
  ]
  const head = `${oneLine(name)}  ${state}\n`
  const listed = tools.map((tool) => {
    const change =
      tool.change === null
        ? ''
        : `, ${tool.change === 'new' ? 'new' : 'CHANGED'}: not offered until \`bulkhead mcp approve ${oneLine(name)}\``
    const diff =
      tool.diff === ''
        ? ''
        : `${tool.diff
            .trimEnd()
            .split('\n')
            .map((line) => `      ${line}`)
            .join('\n')}\n`
    return `    ${oneLine(tool.name)}  ${tool.decision}${tool.rule ? ` (${oneLine(tool.rule)})` : ''}${change}\n${diff}`
  })
  return `${head}${rows.flatMap(([label, value]) => (value === null ? [] : [`  ${label.padEnd(10)} ${oneLine(value, 2_000)}\n`])).join('')}${listed.length > 0 ? `  Tools\n${listed.join('')}` : ''}`
}
