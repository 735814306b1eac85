/**
 * The keyring of the operating system, for one key: libsecret on Linux (`secret-tool`), Keychain on macOS (`security`), DPAPI on Windows.
 * The key travels on standard input and output, never in an argument. macOS and Windows are written to their documentation and unverified.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { keyringMs } from './limits.ts'

export type Keyring = {
  name: string
  /** Null when it holds none of this account. Rejects with why when it does not answer. */
  read(): Promise<string | null>
  write(key: string): Promise<void>
}

/** `account` tells one Bulkhead home from another; `protectedFile`: where a key that the system only encrypts is put. */
export function findKeyring(env: NodeJS.ProcessEnv, account: string, protectedFile: string): Keyring | null {
  if (env['BULKHEAD_KEYRING'] === 'off') return null
  switch (process.platform) {
    case 'linux':
      return onPath(env, 'secret-tool') && hasSessionBus(env) ? libsecret(env, account) : null
    case 'darwin':
      return keychain(env, account)
    case 'win32':
      return dataProtection(env, protectedFile)
    default:
      return null
  }
}

function libsecret(env: NodeJS.ProcessEnv, account: string): Keyring {
  const about = ['service', 'bulkhead', 'account', account]
  return {
    name: 'the keyring of this desktop (libsecret)',
    async read() {
      const { code, stdout, stderr } = await run(env, 'secret-tool', ['lookup', ...about])
      // It ends with 1 also when there is just no such entry, and then says nothing.
      if (code !== 0 && stderr.trim() !== '') throw new Error(firstLine(stderr))
      return code === 0 && stdout.trim() !== '' ? stdout.trim() : null
    },
    async write(key) {
      const { code, stderr } = await run(env, 'secret-tool', ['store', '--label=Bulkhead: key of the vault', ...about], key)
      if (code !== 0) throw new Error(firstLine(stderr) || `secret-tool ended with ${code}`)
    },
  }
}

function keychain(env: NodeJS.ProcessEnv, account: string): Keyring {
  return {
    name: 'the macOS keychain',
    async read() {
      const { code, stdout, stderr } = await run(env, '/usr/bin/security', ['find-generic-password', '-s', 'bulkhead', '-a', account, '-w'])
      // 44: there is no such item.
      if (code === 44) return null
      if (code !== 0) throw new Error(firstLine(stderr))
      return stdout.trim() || null
    },
    async write(key) {
      // Commands from standard input: an argument would be seen by every process.
      const { code, stderr } = await run(
        env,
        '/usr/bin/security',
        ['-i'],
        `add-generic-password -U -s bulkhead -a "${account}" -w "${key}"\n`,
      )
      if (code !== 0) throw new Error(firstLine(stderr))
    },
  }
}

/** Windows encrypts for this user; where the result is kept is up to us. */
function dataProtection(env: NodeJS.ProcessEnv, file: string): Keyring {
  const script = (act: string): string =>
    `Add-Type -AssemblyName System.Security; $in = [Convert]::FromBase64String([Console]::In.ReadToEnd().Trim()); ` +
    `[Convert]::ToBase64String([Security.Cryptography.ProtectedData]::${act}($in, $null, 'CurrentUser'))`
  const through = async (act: 'Protect' | 'Unprotect', text: string): Promise<string> => {
    const { code, stdout, stderr } = await run(env, 'powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script(act)], text)
    if (code !== 0) throw new Error(firstLine(stderr))
    return stdout.trim()
  }
  return {
    name: 'Windows data protection (DPAPI)',
    read: async () => (existsSync(file) ? through('Unprotect', readFileSync(file, 'utf8')) : null),
    write: async (key) => writeFileSync(file, await through('Protect', key), { mode: 0o600 }),
  }
}

function run(
  env: NodeJS.ProcessEnv,
  command: string,
  args: readonly string[],
  input = '',
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { env, stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    // A keyring that is locked asks the member, who may take a while.
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${command} did not answer within ${keyringMs / 1000} s`))
    }, keyringMs)
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code: code ?? -1, stdout, stderr })
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

function onPath(env: NodeJS.ProcessEnv, command: string): boolean {
  return (env['PATH'] ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, command), constants.X_OK)
      return dir !== ''
    } catch {
      return false
    }
  })
}

/** Without one there is nobody to ask, and `secret-tool` would start a bus of its own. */
function hasSessionBus(env: NodeJS.ProcessEnv): boolean {
  return Boolean(env['DBUS_SESSION_BUS_ADDRESS']) || existsSync(join(env['XDG_RUNTIME_DIR'] ?? '/nonexistent', 'bus'))
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? ''
}
