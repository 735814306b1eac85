/** `bulkhead secret …`: tokens that go into requests to one host each, and that no program, model or page sees. */
import type { Readable } from 'node:stream'
import { badValue, type SecretPlace } from '../actors/egress/vault-format.ts'
import { fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { largestSecretInput } from './limits.ts'
import { makePlaces, type Places } from './places.ts'
import { printable } from './printable.ts'
import type { SecretCommand } from './secret-args.ts'
import { withStartLock } from './start-lock.ts'
import { dropSecret, keepSecret, keptSecrets } from './vault.ts'

export type SecretIo = {
  places: Places
  env: NodeJS.ProcessEnv
  input: Readable & { isTTY?: boolean; setRawMode?(raw: boolean): unknown }
  out(text: string): void
  /** For what is no result: a prompt. */
  tell(text: string): void
  /** The daemon, if one runs. */
  running(): Promise<Daemon | null>
}

/** @returns the exit code */
export async function secret(command: SecretCommand, io: SecretIo): Promise<number> {
  const { places, env, out } = io
  const say = (value: unknown, text: string): void => out(command.json ? `${JSON.stringify(value)}\n` : printable(text))
  makePlaces(places)
  switch (command.action) {
    case 'list': {
      const secrets = (keptSecrets(places)?.secrets ?? []).map(({ name, host, port, place }) => ({ name, host, port, place }))
      const text = secrets.map(({ name, host, port, place }) => `${name}  ${host}:${port}  ${placeText(place)}\n`).join('')
      say({ secrets }, text === '' ? 'No secret is kept.\n' : text)
      return exitCodes.done
    }
    case 'remove': {
      const { name } = command
      if (!(await withStartLock(places.runtimeDir, async () => dropSecret(places, name))))
        throw fault('not-found', `No secret is called ${name}.`, { remedy: 'List them with `bulkhead secret list`.' })
      say({ removed: name, ...(await reload(io)) }, `${name} is forgotten. Revoke it where it was issued as well.\n`)
      return exitCodes.done
    }
    case 'set': {
      const { name, host, port, place } = command
      const value = await readValue(name, io)
      const why = badValue(value)
      if (why !== null) throw fault('bad-settings', `The value of ${name} cannot be kept: ${why}.`)
      const where = await withStartLock(places.runtimeDir, () => keepSecret(places, env, { name, host, port, place }, value))
      const { problem } = await reload(io)
      const restart =
        problem === null ? '' : `${problem} The running daemon has not got the key of the vault: \`bulkhead daemon stop\`, then go on.\n`
      say(
        { kept: name, host, port, place, key: where, problem },
        `${name} is kept for ${host}:${port}, ${placeText(place)}; its key is in ${where}.\nFrom now on requests to ${host} are read, and nothing else of a sender's is in that field.\n${restart}`,
      )
      return exitCodes.done
    }
    default:
      return command satisfies never
  }
}

function placeText(place: SecretPlace): string {
  if (place.in === 'basic') return `as the password of ${place.user}`
  return place.in === 'query' ? `in the query as ${place.name}` : `in the field ${place.name}`
}

/** A daemon that runs takes it at once; one that starts later reads it then. */
async function reload({ running }: SecretIo): Promise<{ problem: string | null }> {
  const daemon = await running()
  if (daemon === null) return { problem: null }
  try {
    return await daemon.call<{ problem: string | null }>('egress/reload-secrets')
  } finally {
    daemon.close()
  }
}

async function readValue(name: string, { input, tell }: SecretIo): Promise<string> {
  if (input.isTTY) {
    tell(`Value of ${name} (not shown): `)
    // In raw mode the terminal does not show what is typed.
    input.setRawMode?.(true)
    try {
      return await typed(input)
    } finally {
      input.setRawMode?.(false)
      tell('\n')
    }
  }
  let text = ''
  for await (const chunk of input.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    if (text.length > largestSecretInput) throw fault('bad-settings', `The value of ${name} is too long.`)
  }
  return text.replace(/\r?\n$/, '')
}

function typed(input: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const take = (chunk: string): void => {
      for (const letter of chunk) {
        if (letter === '\r' || letter === '\n') return done(() => resolve(text))
        if (letter === '\u0003' || letter === '\u0004') return done(() => reject(fault('cancelled', 'Nothing was kept.')))
        if (letter === '\u007f' || letter === '\b') text = text.slice(0, -1)
        else if (text.length <= largestSecretInput) text += letter
      }
    }
    const done = (then: () => void): void => {
      input.off('data', take)
      input.pause()
      then()
    }
    input.setEncoding('utf8').on('data', take)
    input.resume()
  })
}
