/**
 * `bulkhead` without a command: a conversation, line by line. What is typed while a turn runs waits for its end; while a question is
 * open it is the answer. Ctrl-C interrupts the turn; at rest, twice leaves. The daemon and the session go on.
 */
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import type { VmStatus } from '../actors/vm-supervisor/protocol.ts'
import { asFault } from '../kernel/index.ts'
import { isApprove, parseFolder, type SessionOptions, UsageError } from './args.ts'
import type { Daemon } from './connection.ts'
import { openDaemon } from './daemon-control.ts'
import type { Opened } from './events.ts'
import { exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import { history, lastTurn, recentFolders } from './history.ts'
import type { HistoryCommand } from './history-args.ts'
import { leaveMs } from './limits.ts'
import { linesOf } from './lines.ts'
import { findPlaces } from './places.ts'
import { createAsker } from './questions.ts'
import { createRenderer } from './render.ts'
import { styleFor } from './style.ts'
import { createTurns } from './turn.ts'
import { vmText } from './vm.ts'
import { pageLine } from './web.ts'

const help = `Type what you want done. Commands:
  /folder PATH[:ro]   connect a folder, for reading and writing or read-only; without PATH: those connected lately
  /host PATTERN       allow a host for web fetches
  /approve MODE       ask, edits, all, none
  /grants             what this session may do
  /revoke ID          take one of them back
  /changes            what this session changed
  /undo [NAME]        take back the last turn's changes, or a change, call or turn that /changes names
  /redo [FOLDER]      take the last undo in a folder back
  /vm                 the workspace's state
  /help  /quit
Ctrl-C interrupts; twice at rest leaves. The daemon and the session go on: bulkhead --session ID comes back.
`
const firstSteps = `Connect a folder with /folder PATH, then try for example:
  list the files
  total the sales by region and write report.md
  find "TODO" in all files
`

const historyOf = (verb: HistoryCommand['verb']): HistoryCommand => ({ verb, preview: false, force: false, json: false })

/** @returns the exit code */
export async function terminal(options: SessionOptions, io: NodeJS.Process = process): Promise<number> {
  const style = styleFor(io.stderr, io.env)
  const renderer = createRenderer({ out: io.stdout, err: io.stderr, style })
  const interactive = io.stdin.isTTY && style.live
  const reader = createInterface({
    input: io.stdin,
    ...(interactive ? { output: io.stderr } : {}),
    terminal: interactive,
    prompt: 'bulkhead> ',
  })
  /** Lines that answer a question take this way. */
  const answers = new PassThrough()
  const answering = createAsker({ lines: linesOf(answers), write: (text) => io.stderr.write(text), style, screen: renderer })
  let asking = 0
  const turns = createTurns(renderer.event, io.env)
  const typed: string[] = []
  let wake: (() => void) | null = null
  const state = { leaving: false }
  let lastInterrupt = 0

  // From the first moment on: what is typed, or comes through a pipe, while the daemon starts is not lost.
  reader.on('line', (line) => {
    if (asking > 0) answers.write(`${line}\n`)
    else {
      if (turns.running() && line.trim() !== '') renderer.note('Waits until this turn ends.')
      typed.push(line)
      wake?.()
    }
  })
  reader.on('close', () => {
    state.leaving = true
    answers.end()
    wake?.()
  })
  const daemon: Daemon = await openDaemon({
    places: findPlaces(io.env),
    env: io.env,
    match: true,
    progress: renderer.status,
    handlers: {
      event: turns.event,
      async question(question, signal) {
        asking++
        try {
          return await answering(question, signal)
        } finally {
          asking--
        }
      },
      resolved: ({ by }) => by && renderer.note(`Answered by ${by}.`),
    },
  })
  const openSession = (more: object): Promise<Opened> => daemon.call<Opened>('open', more)
  const { folders, hosts, approve, session: name, model } = options
  const { session } = await openSession({ folders, hosts, approve, ...(name ? { session: name } : {}), ...(model ? { model } : {}) })
  renderer.note(await pageLine(daemon))
  io.stderr.write(folders.length === 0 ? firstSteps : 'Type what you want done, or /help.\n')

  const interrupt = () => {
    if (turns.running()) {
      renderer.status('interrupting')
      void daemon.call('cancel', { session }).catch(() => {})
    } else if (Date.now() - lastInterrupt < leaveMs) reader.close()
    else {
      renderer.note('Press Ctrl-C again to leave.')
      if (interactive) reader.prompt()
    }
    lastInterrupt = Date.now()
  }
  reader.on('SIGINT', interrupt)
  io.on('SIGINT', interrupt)
  void daemon.closed.then(() => {
    if (!state.leaving) renderer.note('The daemon ended. Start again to go on.')
    reader.close()
  })

  const told = (text: string): void => renderer.note(text.trimEnd())

  async function command(line: string): Promise<void> {
    const [word = '', ...rest] = line.trim().split(/\s+/)
    const argument = rest.join(' ')
    switch (word) {
      case '/folder':
        if (argument === '') return told(await recentFolders(daemon))
        return void (await openSession({ session, folders: [parseFolder(argument)] }))
      case '/host':
        if (argument === '') throw new UsageError('/host takes a host, for example example.com or *.example.com.')
        return void (await openSession({ session, hosts: [argument] }))
      case '/approve':
        if (!isApprove(argument)) throw new UsageError('/approve takes one of: ask, edits, all, none.')
        await daemon.call('approve-mode', { session, approve: argument })
        return renderer.note(`approve: ${argument}`)
      case '/grants': {
        const { grants } = await daemon.call<{ grants: { id: string; scope: string; by: string }[] }>('grants', { session })
        return renderer.note(grants.map(({ id, scope, by }) => `${id.padStart(4)}  ${scope}, by ${by}`).join('\n') || 'Nothing yet.')
      }
      case '/revoke':
        await daemon.call('revoke', { session, grant: argument })
        return renderer.note('Taken back.')
      case '/changes':
        return void (await history(daemon, { ...historyOf('changes'), session }, told))
      case '/undo': {
        const what = argument === '' ? await lastTurn(daemon, session) : argument
        if (what === null) return renderer.note('This session changed nothing that could be taken back.')
        return void (await history(daemon, { ...historyOf('undo'), what }, told))
      }
      case '/redo': {
        const { folders: now } = await openSession({ session })
        const [folder, ...others] = now.filter(({ name: its, mode }) => mode === 'rw' && (argument === '' || its === argument))
        if (folder === undefined || others.length > 0)
          throw new UsageError('/redo takes the name of a folder that is connected for writing.')
        return void (await history(daemon, { ...historyOf('redo'), folder: folder.root }, told))
      }
      case '/vm':
        return renderer.note(vmText(await daemon.call<VmStatus>('vm/status')).trimEnd())
      case '/quit':
      case '/exit':
        return reader.close()
      case '/help':
        return renderer.note(help.trimEnd())
      default:
        throw new UsageError(`There is no command ${word}. /help lists them.`)
    }
  }

  while (!state.leaving || typed.length > 0) {
    const line = typed.shift()
    if (line === undefined) {
      if (interactive) reader.prompt()
      await new Promise<void>((resolve) => (wake = resolve))
      wake = null
      continue
    }
    if (line.trim() === '') continue
    try {
      if (line.trim().startsWith('/')) await command(line)
      else {
        const result = await turns.prompt(daemon, session, line)
        if (!result.told && result.error) renderer.note(faultText(result.error))
      }
    } catch (error) {
      renderer.note(error instanceof UsageError ? error.message : faultText(asFault(error)))
    }
    renderer.settle()
  }
  daemon.close()
  io.off('SIGINT', interrupt)
  io.stderr.write(`Session ${session} stays: bulkhead --session ${session}\n`)
  return exitCodes.done
}
