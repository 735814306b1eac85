/**
 * The daemon. Clients wait for the gateway, so its process starts before most of the daemon is loaded, which then loads beside it:
 *
 *   main.ts   whether there is a jail; meanwhile
 *     begin.ts   the page's door and the gateway's process
 *       serve.ts   everything else
 */
import { writeFileSync } from 'node:fs'
import { findJail } from '../kernel/jail.ts'

// Inherited by every actor: a process that dies leaves no image of its memory, whatever the machine does with such images. Linux only.
try {
  writeFileSync('/proc/self/coredump_filter', '0')
} catch {
  // Elsewhere the system's own setting counts.
}

void findJail()
const { begin } = await import('./begin.ts')
const begun = await begin()
const { serve } = await import('./serve.ts')
await serve(begun)
