/**
 * Terminals for commands: the session's own devices, whose other end the agent holds. Node can neither unlock one nor set its size, so Perl,
 * which is in every Debian, does that in a moment and is gone: no helper stands between the terminal and the link.
 */
import { spawn } from 'node:child_process'
import { chownSync, closeSync, constants, openSync } from 'node:fs'
import { join } from 'node:path'
import { ReadStream } from 'node:tty'
import type { TerminalSize } from '../wire.ts'
import { toolMs } from './limits.ts'
import type { Session } from './sessions.ts'

export type Terminal = {
  /** The agent's end, both ways. */
  master: ReadStream
  /** The command's end, by name. Held open until somebody else has it. */
  path: string
  taken(): void
  resize(size: TerminalSize): Promise<void>
  /** Hangs up: whatever still uses it gets SIGHUP. */
  close(): void
}

/** TIOCSWINSZ with what is asked for, TIOCSPTLCK (unlock), TIOCGPTN (its number, printed). Perl wants variables to write into. */
const script = `
  my ($rows, $cols) = @ARGV;
  my ($size, $unlocked, $number) = (pack("S4", $rows, $cols, 0, 0), pack("i", 0), pack("I", 0));
  ioctl(STDIN, 0x5414, $size) or die "size: $!";
  ioctl(STDIN, 0x40045431, $unlocked) or die "unlock: $!";
  ioctl(STDIN, 0x80045430, $number) or die "number: $!";
  print unpack("I", $number);`

/** Rejects when the session's devices cannot be used. */
export async function openTerminal({ slot, uid }: Session, size: TerminalSize): Promise<Terminal> {
  const devices = `/proc/${slot.holder.pid}/root/dev/pts`
  const fd = openSync(join(devices, 'ptmx'), constants.O_RDWR | constants.O_NOCTTY)
  let slave: number
  let path: string
  try {
    path = join(devices, String(Number(await perl(fd, size))))
    slave = openSync(path, constants.O_RDWR | constants.O_NOCTTY)
    chownSync(path, uid, 0)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  const master = new ReadStream(fd)
  // Reading from a terminal nobody has open any more fails; that is how it ends.
  master.on('error', () => master.destroy())
  let held = true
  return {
    master,
    path,
    taken() {
      if (held) closeSync(slave)
      held = false
    },
    async resize(to) {
      if (!master.destroyed) await perl(fd, to)
    },
    close: () => master.destroy(),
  }
}

/** Prints the terminal's number. */
function perl(terminal: number, { rows, cols }: TerminalSize): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('perl', ['-e', script, String(rows), String(cols)], { stdio: [terminal, 'pipe', 'pipe'], timeout: toolMs })
    let printed = ''
    let said = ''
    child.stdout?.on('data', (bytes: Buffer) => (printed += bytes.toString()))
    child.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(printed) : reject(new Error(`the terminal cannot be set up: ${said.trim()}`))))
  })
}
