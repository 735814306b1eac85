/**
 * The process that holds a session's namespaces: a root shell inside them that does the agent's bidding there, one line after the other.
 * Commands of the session itself never run in it; they join its namespaces from outside.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { inCgroup } from './cgroups.ts'
import { toolMs } from './limits.ts'

/** Each order is answered by `= <exit code>`; what it wrote to stderr explains a failure. */
const loop = 'echo = 0; while read -r order; do eval "$order"; echo "= $?"; done'

type Waiter = { resolve: () => void; reject: (error: Error) => void }

export class Holder {
  readonly #child: ChildProcess
  readonly #waiting: Waiter[] = []
  #said = ''
  #info = ''
  #ended = false
  /** Its first process inside, as the agent sees it; 0 until it has begun. */
  pid = 0
  /** Settles when it is gone, and the namespaces with it. */
  readonly gone: Promise<void>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.gone = new Promise((resolve) => {
      const end = (why: string): void => {
        if (this.#ended) return
        this.#ended = true
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${why} ${this.#said.trim()}`.trim()))
        resolve()
      }
      child.once('error', (error) => end(error.message))
      child.once('exit', (code) => end(`the session's namespaces ended (${code}).`))
    })
    let line = ''
    child.stdout?.on('data', (bytes: Buffer) => {
      line += bytes.toString()
      for (let at = line.indexOf('\n'); at >= 0; at = line.indexOf('\n')) {
        this.#answer(line.slice(0, at))
        line = line.slice(at + 1)
      }
    })
    child.stderr?.on('data', (bytes: Buffer) => (this.#said = (this.#said + bytes.toString()).slice(-2000)))
    const info = child.stdio[3] as NodeJS.ReadableStream
    info.on('data', (bytes: Buffer) => (this.#info = (this.#info + bytes.toString()).slice(-4096)))
    for (const stream of child.stdio) stream?.on('error', () => {})
  }

  /** Starts `jail` (a bwrap command line without its command) in the group; resolves once the shell inside answers. */
  static async start(cgroup: string, jail: readonly string[]): Promise<Holder> {
    const [command, args] = inCgroup(cgroup, [...jail, '--info-fd', '3', '--', '/bin/sh', '-c', loop])
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      cwd: '/',
      detached: true,
    })
    const holder = new Holder(child)
    await holder.#wait()
    holder.pid = Number(/"child-pid": *(\d+)/.exec(holder.#info)?.[1])
    if (Number.isSafeInteger(holder.pid) && holder.pid > 1) return holder
    holder.end()
    throw new Error('namespaces could not be made: no process id')
  }

  /** Runs a program as root inside. Rejects with what it wrote to stderr. */
  run(...command: readonly string[]): Promise<void> {
    return this.order(command.map(quoted).join(' '))
  }

  /** Runs a line of shell as root inside. */
  order(line: string): Promise<void> {
    if (this.#ended) return Promise.reject(new Error('the session’s namespaces have ended'))
    this.#child.stdin?.write(`${line}\n`)
    return this.#wait()
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }

  #wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      // Answers come in order, so one that is late makes all later ones wrong: the namespaces are given up.
      const late = setTimeout(() => this.end(), toolMs)
      this.#waiting.push({
        resolve: () => {
          clearTimeout(late)
          resolve()
        },
        reject: (error) => {
          clearTimeout(late)
          reject(error)
        },
      })
    })
  }

  #answer(line: string): void {
    const code = /^= (\d+)$/.exec(line)?.[1]
    if (code === undefined) return
    const said = this.#said.trim().replaceAll('\n', '; ')
    this.#said = ''
    const waiter = this.#waiting.shift()
    if (code === '0') waiter?.resolve()
    else waiter?.reject(new Error(said === '' ? `ended with ${code}` : said))
  }
}

/** One word for the shell, whatever is in it. Line breaks have no place in what is quoted here. */
function quoted(word: string): string {
  if (word.includes('\n')) throw new Error('a line break in a shell word')
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
