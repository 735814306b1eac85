/** What the daemon is started with: JSON on descriptor 3. No argument and no environment variable carries any of it. */
import { z } from 'zod'

export const settings = z.strictObject({
  /** State: journal, VM state, logs. Absolute. */
  home: z.string().startsWith('/'),
  /** Sockets, 0700. Absolute. */
  runtimeDir: z.string().startsWith('/'),
  imageDir: z.string().startsWith('/'),
  /** `off`: never start the workspace. */
  vm: z.enum(['auto', 'off']),
  /** ANTHROPIC_BASE_URL, or null for the default. */
  baseUrl: z.string().max(2000).nullable(),
})

/** Inherited descriptors: settings to read, the secrets to pass on unread, and where readiness is reported. */
export const fds = { settings: 3, secrets: 4, ready: 5 } as const
