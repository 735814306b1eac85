/** `bulkhead run`: one prompt, streamed, and an exit code. */
import { asFault } from '../kernel/index.ts'
import type { SessionOptions } from './args.ts'
import { openDaemon } from './daemon-control.ts'
import type { Daemon } from './connection.ts'
import type { Opened, TurnResult } from './events.ts'
import { exitCode, exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import { createJsonOutput } from './json.ts'
import { linesOf } from './lines.ts'
import { findPlaces } from './places.ts'
import { createAsker } from './questions.ts'
import { createRenderer } from './render.ts'
import { styleFor } from './style.ts'
import { createTurns } from './turn.ts'

export type RunOptions = SessionOptions & { prompt: string; json: boolean }

/** @returns the exit code */
export async function run(options: RunOptions, io: NodeJS.Process = process): Promise<number> {
  const style = styleFor(io.stderr, io.env)
  const renderer = createRenderer({ out: io.stdout, err: io.stderr, style })
  const json = options.json ? createJsonOutput(io.stdout) : null
  const lines = linesOf(io.stdin)
  const ask = createAsker({ lines, write: (text) => io.stderr.write(text), style, screen: renderer })
  const turns = createTurns((event) => (json ? json.event(event) : renderer.event(event)), io.env)
  let daemon: Daemon | null = null
  let session: string | null = null
  let interrupted = false

  /** First time: interrupts the turn, which then ends as cancelled. Second time, or before there is one: leaves. */
  const interrupt = () => {
    if (interrupted || !daemon || session === null || !turns.running()) {
      interrupted = true
      return daemon ? daemon.close() : leave()
    }
    interrupted = true
    renderer.status('interrupting')
    void daemon.call('cancel', { session }).catch(() => {})
  }
  const leave = () => {
    json?.ended({ status: 'cancelled', text: '', toolCalls: 0 })
    io.exit(exitCodes.interrupted)
  }
  io.on('SIGINT', interrupt)
  io.on('SIGTERM', interrupt)
  // The reader of our output is gone: nobody would see what happens from here on.
  io.stdout.on('error', interrupt)

  const work = async (): Promise<TurnResult & { told: boolean }> => {
    daemon = await openDaemon({
      places: findPlaces(io.env),
      env: io.env,
      match: true,
      progress: renderer.status,
      handlers: { event: turns.event, question: ask },
    })
    const { folders, hosts, approve, session: name, model } = options
    renderer.status('opening the session')
    const opened = await daemon.call<Opened>('open', {
      folders,
      hosts,
      approve,
      ...(name ? { session: name } : {}),
      ...(model ? { model } : {}),
    })
    session = opened.session
    return turns.prompt(daemon, session, options.prompt)
  }
  try {
    const result = await work().catch((error: unknown): TurnResult & { told: boolean } => ({
      status: 'failed',
      text: '',
      toolCalls: 0,
      error: asFault(error),
      told: false,
    }))
    const ended: TurnResult = interrupted && !result.told ? { status: 'cancelled', text: '', toolCalls: result.toolCalls } : result
    renderer.settle()
    if (!result.told) {
      json?.ended(ended)
      if (!json) io.stderr.write(ended.error ? `${style.paint('red', 'Error:')} ${faultText(ended.error)}\n` : 'Interrupted\n')
    }
    return exitCode(ended)
  } finally {
    ;(daemon as Daemon | null)?.close()
    lines.close()
    io.off('SIGINT', interrupt)
    io.off('SIGTERM', interrupt)
  }
}
