/**
 * A process that carries a port's bytes without the agent (`output-pump.pl`, `files-pump.pl`, `net-pump.pl`): it takes orders on its input and tells what
 * happened on its output, one line each, in words.
 */
import { type ChildProcess, spawn } from 'node:child_process'

export type Carrier = { child: ChildProcess; order(...words: readonly (string | number)[]): void }

/**
 * @param script file beside this one
 * @param streams further pipes of the process, from descriptor 3
 * @param hear gets the words of each line
 * @param end gets why the process is no more
 */
export function startCarrier({
  script,
  args,
  streams,
  what,
  hear,
  end,
}: {
  script: string
  args: readonly string[]
  streams: readonly 'pipe'[]
  what: string
  hear: (words: readonly (string | undefined)[]) => void
  end: (why: string) => void
}): Carrier {
  const child = spawn('perl', [new URL(script, import.meta.url).pathname, ...args], {
    stdio: ['pipe', 'pipe', 'inherit', ...streams],
    cwd: '/',
  })
  child.once('error', (error) => end(error.message))
  child.once('exit', (code, signal) => end(`${what} ended with ${signal ?? code}`))
  child.stdin?.on('error', () => {})
  let text = ''
  child.stdout?.on('data', (bytes: Buffer) => {
    text += bytes.toString()
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n')) {
      hear(text.slice(0, at).split(' '))
      text = text.slice(at + 1)
    }
  })
  return {
    child,
    order(...words) {
      child.stdin?.write(`${words.join(' ')}\n`)
    },
  }
}
