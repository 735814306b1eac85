/** The page's address: printed, and opened where there is a desktop. */
import { spawn } from 'node:child_process'
import { asFault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'

/** @returns the exit code */
export async function web(
  daemon: Daemon,
  options: { open: boolean; env: NodeJS.ProcessEnv; out(text: string): void; note(text: string): void },
): Promise<number> {
  const { url } = await daemon.call<{ url: string }>('page')
  options.out(`${url}\n`)
  if (options.open && !(await openInBrowser(url, options.env))) options.note('No browser could be opened here; open the address yourself.')
  return exitCodes.done
}

/** One line for the terminal's greeting; a daemon without a page is no reason not to talk. */
export async function pageLine(daemon: Daemon): Promise<string> {
  try {
    return `In the browser: ${(await daemon.call<{ url: string }>('page')).url}`
  } catch (error) {
    return `No page: ${asFault(error).message}`
  }
}

const openers: Partial<Record<NodeJS.Platform, string[]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

/** False when there is nothing to open it with. The opener goes on by itself. */
function openInBrowser(url: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const desktop = process.platform !== 'linux' || Boolean(env['DISPLAY'] || env['WAYLAND_DISPLAY'])
  if (!desktop) return Promise.resolve(false)
  const [program = '', ...args] = openers[process.platform] ?? ['xdg-open']
  return new Promise((resolve) => {
    const child = spawn(program, [...args, url], { detached: true, stdio: 'ignore' })
    child.once('error', () => resolve(false))
    child.once('spawn', () => {
      child.unref()
      resolve(true)
    })
  })
}
