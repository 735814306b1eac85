/**
 * The `bulkhead` command: parses the command line, runs the verb, ends with its exit code once all output is out. Each verb loads only what it
 * needs: `--version` must not wait for the libraries of a conversation.
 */
import type { VmStatus } from '../actors/vm-supervisor/protocol.ts'
import { asFault, isFault } from '../kernel/index.ts'
import type { InspectReport } from '../kernel/inspect.ts'
import { type Command, parseCommand, usage, UsageError } from './args.ts'
import { auditDir } from '../actors/telemetry/manifest.ts'
import { exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import type { ShellShown } from './connection.ts'
import { findPlaces } from './places.ts'
import { createRenderer } from './render.ts'
import { styleFor } from './style.ts'
import { version } from '../kernel/version.ts'

const { stdout, stderr, env } = process
const out = (text: string): void => void stdout.write(text)
const style = styleFor(stderr, env)
const renderer = createRenderer({ out: stdout, err: stderr, style })

async function perform(command: Command): Promise<number> {
  const places = findPlaces(env)
  let watching: (status: VmStatus) => void = () => {}
  let showing: (shown: ShellShown) => void = () => {}
  const open = async (match: boolean) => {
    const { openDaemon } = await import('./daemon-control.ts')
    const handlers = { vm: (status: unknown) => watching(status as VmStatus), shell: (shown: ShellShown) => showing(shown) }
    return openDaemon({ places, env, match, progress: renderer.status, handlers })
  }
  switch (command.verb) {
    case 'help':
      out(usage)
      return exitCodes.done
    case 'version':
      out(`bulkhead ${version}\n`)
      return exitCodes.done
    case 'run':
      return (await import('./run.ts')).run(command)
    case 'terminal':
      return (await import('./terminal.ts')).terminal(command)
    case 'explore':
      return (await import('./explore.ts')).explore({
        ...command,
        out,
        ended: new Promise((resolve) => ['SIGINT', 'SIGTERM'].forEach((signal) => process.once(signal, () => resolve()))),
      })
    case 'check':
      if (command.conform !== null)
        return (await import('./conform.ts')).conformSession({ session: command.conform, json: command.json, home: places.home, out })
      return (await import('./check.ts')).check({
        ...command,
        out: (text) => {
          renderer.settle()
          out(text)
        },
        progress: renderer.status,
      })
    case 'acp':
      return (await import('./acp.ts')).acp(places, await open(true))
    case 'web': {
      const { web } = await import('./web.ts')
      const daemon = await open(true)
      try {
        return await web(daemon, { open: command.open && stderr.isTTY, env, out, note: renderer.note })
      } finally {
        daemon.close()
      }
    }
    case 'doctor':
      return (await import('./doctor.ts')).doctor({ json: command.json, env, style: styleFor(stdout, env), out })
    case 'vm': {
      const { vm } = await import('./vm.ts')
      const daemon = await open(false)
      const show = (text: string) => {
        renderer.settle()
        out(text)
      }
      try {
        return await vm(daemon, command.action, {
          json: command.json,
          out: show,
          progress: renderer.status,
          watched: (to) => (watching = to),
        })
      } finally {
        daemon.close()
      }
    }
    case 'shell': {
      const { shell } = await import('./shell.ts')
      const daemon = await open(true)
      try {
        return await shell(daemon, command, {
          stdin: process.stdin,
          stdout,
          term: env['TERM'] ?? '',
          progress: renderer.status,
          settle: renderer.settle,
          shown: (to) => (showing = to),
        })
      } finally {
        daemon.close()
      }
    }
    case 'changes':
    case 'undo':
    case 'redo': {
      const { history } = await import('./history.ts')
      const daemon = await open(false)
      try {
        return await history(daemon, command, (text) => {
          renderer.settle()
          out(text)
        })
      } finally {
        daemon.close()
      }
    }
    case 'policy': {
      const { policy } = await import('./policy.ts')
      const daemon = await open(false)
      try {
        return await policy(daemon, command, (text) => {
          renderer.settle()
          out(text)
        })
      } finally {
        daemon.close()
      }
    }
    case 'egress': {
      const { egress } = await import('./egress.ts')
      const daemon = await open(false)
      renderer.settle()
      try {
        return await egress(daemon, command, out)
      } finally {
        daemon.close()
      }
    }
    case 'secret': {
      const [{ secret }, { connectDaemon }] = await Promise.all([import('./secret.ts'), import('./connection.ts')])
      const tell = (text: string): void => void stderr.write(text)
      return secret(command, { places, env, input: process.stdin, out, tell, running: () => connectDaemon(places.socket) })
    }
    case 'audit': {
      const { audit } = await import('./audit.ts')
      return audit(command, auditDir(places.home), out)
    }
    case 'telemetry': {
      const { telemetry } = await import('./telemetry.ts')
      const daemon = await open(false)
      renderer.settle()
      try {
        return await telemetry(daemon, command, out)
      } finally {
        daemon.close()
      }
    }
    case 'mcp':
    case 'extension': {
      const { mcp } = await import('./mcp.ts')
      const daemon = await open(false)
      renderer.settle()
      try {
        return await mcp(daemon, command, { home: places.home, out })
      } finally {
        daemon.close()
      }
    }
    case 'actor': {
      const { actor } = await import('./actor.ts')
      const daemon = await open(false)
      renderer.settle()
      try {
        return await actor(daemon, command, { home: places.home, out, input: process.stdin, err: stderr })
      } finally {
        daemon.close()
      }
    }
    case 'replay':
      return (await import('./replay.ts')).replaySession({ session: command.session, json: command.json, home: places.home, out })
    case 'inspect': {
      const { inspectText } = await import('./inspect.ts')
      const daemon = await open(false)
      const report = await daemon.call<InspectReport>('inspect')
      daemon.close()
      renderer.settle()
      out(command.json ? `${JSON.stringify(report)}\n` : inspectText(report))
      return exitCodes.done
    }
    case 'daemon': {
      const { daemonStatus, stopDaemon } = await import('./daemon-control.ts')
      if (command.action === 'start') (await open(true)).close()
      const stopped = command.action === 'stop' ? await stopDaemon(places) : false
      const status = await daemonStatus(places)
      renderer.settle()
      if (command.json) out(`${JSON.stringify(status)}\n`)
      else if (command.action === 'stop') out(stopped ? 'The daemon is stopped.\n' : 'No daemon was running.\n')
      else if (status.running)
        out(
          `The daemon runs: pid ${status.pid}, ${status.sessions} sessions, ${status.turns} prompts under way.\n  ${status.socket}\n  ${status.log}\n`,
        )
      else out('No daemon is running.\n')
      return status.running || command.action === 'stop' ? exitCodes.done : exitCodes.failed
    }
    default:
      return command satisfies never
  }
}

async function main(): Promise<number> {
  try {
    return await perform(parseCommand(process.argv.slice(2)))
  } catch (error) {
    renderer.settle()
    if (error instanceof UsageError) {
      stderr.write(`bulkhead: ${error.message}\nSee bulkhead --help.\n`)
      return exitCodes.usage
    }
    const known = isFault(error) ? error : asFault(error)
    stderr.write(`${style.paint('red', 'Error:')} ${faultText(known)}\n`)
    return exitCodes.failed
  }
}

// A reader that went away is no defect of ours.
stdout.on('error', () => {})
stderr.on('error', () => {})
const code = await main()
// Pipes are written asynchronously: leaving before they drained would cut the last event.
for (const stream of [stdout, stderr])
  await new Promise<void>((resolve) => (stream.destroyed ? resolve() : stream.write('', () => resolve())))
process.exit(code)
