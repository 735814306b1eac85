/** For tests: a folder to connect, with a sibling that must never be reached. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Limits } from '../../kernel/index.ts'
import { storeKey } from './store-place.ts'
import { closeGate, type Gate, type Mode, openGate } from './gate.ts'

export type TestFolder = { root: string; outside: string; store: string; gate: Gate; reopen(): Gate; remove(): void }

export const secret = 'the secret outside'
export const noLimits: Limits = {}
export const never = new AbortController().signal

/** `<temp>/root` is connected; `<temp>/outside/secret.txt` holds the secret. */
export function testFolder(mode: Mode = 'rw'): TestFolder {
  const base = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'fs-gate-')))
  const root = join(base, 'root')
  const outside = join(base, 'outside')
  fs.mkdirSync(root)
  fs.mkdirSync(outside)
  fs.writeFileSync(join(outside, 'secret.txt'), secret)
  const store = join(base, 'changes', storeKey(root))
  const folder = {
    root,
    outside,
    store,
    gate: openGate(root, 'work', mode, store),
    /** As after a restart of the process. */
    reopen() {
      closeGate(folder.gate)
      folder.gate = openGate(root, 'work', mode, store)
      return folder.gate
    },
    remove() {
      closeGate(folder.gate)
      fs.rmSync(base, { recursive: true, force: true })
    },
  }
  return folder
}

/** Number of descriptors this process has open. Of `gate`, without those it keeps for a moment. */
export function openDescriptors(gate?: Gate): number {
  gate?.root.known.clear()
  return fs.readdirSync('/proc/self/fd').length
}

/** Descriptors of this process that hold just what is at this path. */
export function handlesOn(path: string): number {
  return fs.readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      // The one the list was read through.
      return false
    }
  }).length
}

/** The code a call is refused with; throws when it is not refused. */
export async function refusal(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    return (error as { code: string }).code
  }
  throw new Error('it was not refused')
}
