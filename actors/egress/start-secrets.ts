/**
 * What only egress gets, on an inherited descriptor whose file has no name any more (I/O): the model key, the key of the vault, and how this
 * machine reaches the network, because a proxy's address may hold a password.
 */
import fs from 'node:fs'
import { z } from 'zod'
import { fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { proxyVariables } from './proxy-settings.ts'

const startSecrets = z.object({
  ANTHROPIC_API_KEY: z.string().optional(),
  proxy: proxyVariables.optional(),
  /** PEM certificates trusted beside the built-in ones, in requests egress makes itself. */
  ca: z.string().max(limits.caBytes).optional(),
  /** 32 bytes, base64. */
  vaultKey: z.string().max(100).optional(),
})
export type StartSecrets = z.infer<typeof startSecrets>

/** Positioned reads: a restarted process reads it again. Null: there is no descriptor. */
export function readStartSecrets(fd: number | null): StartSecrets {
  if (fd === null) return {}
  const buffer = Buffer.alloc(limits.startSecretsBytes)
  try {
    let length = 0
    for (;;) {
      const more = fs.readSync(fd, buffer, length, buffer.length - length, length)
      length += more
      if (more === 0 || length === buffer.length) break
    }
    const parsed = startSecrets.safeParse(JSON.parse(buffer.toString('utf8', 0, length)))
    if (parsed.success) return parsed.data
  } catch {
    // Falls through: the parser's message quotes its input, so it must not travel.
  } finally {
    buffer.fill(0)
  }
  throw fault('internal', 'The descriptor with the secrets could not be read.')
}

export function modelKeyOf({ ANTHROPIC_API_KEY: key }: StartSecrets): string | null {
  return key === undefined || key.trim() === '' ? null : key.trim()
}
