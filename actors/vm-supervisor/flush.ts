/** Gets files onto the disk. By a program: under Node's permission model a process may not do it itself. */
import { spawn } from 'node:child_process'

/** Resolves when the files (or folders) and their content are on the disk, as far as the system can tell. Rejects with why not. */
export function flush(...paths: readonly string[]): Promise<void> {
  // GNU's takes files; others flush everything, which does as well.
  const args = process.platform === 'linux' ? ['--', ...paths] : []
  return new Promise((resolve, reject) => {
    const child = spawn('sync', args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' }, cwd: '/' })
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-500)))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`sync: ${said.trim()}`))))
  })
}
