/** Room on the host's disk, where the VM writes and its memories are saved. */
import { randomFillSync } from 'node:crypto'
import { rmSync } from 'node:fs'
import { rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ballastBytes, diskReserve, roomAgain, roomLook } from './limits.ts'

/** Bytes. `reserve`: what is left to everything else on that disk. */
export type Room = { free: number; reserve: number }

/** Where `dir` is. Rejects if that cannot be told. */
export async function roomOn(dir: string): Promise<Room> {
  const { bsize, blocks, bavail } = await statfs(dir)
  return { free: bsize * bavail, reserve: Math.min(diskReserve.bytes, Math.floor(bsize * blocks * diskReserve.share)) }
}

export const isLow = ({ free, reserve }: Room): boolean => free < reserve

/** Whether so many bytes more leave the reserve as it is. */
export const hasRoomFor = (bytes: number, { free, reserve }: Room): boolean => free - bytes >= reserve

/** Resolves with true when there is room for the VM to go on; with false when `wanted` says that nobody waits for it any more. */
export async function roomAgainOn(dir: string, wanted: () => boolean, signal: AbortSignal): Promise<boolean> {
  for (let ms = roomLook.firstMs; wanted() && !signal.aborted; ms = Math.min(roomLook.lastMs, ms * 2)) {
    const { free, reserve } = await roomOn(dir)
    if (free >= reserve * roomAgain) return true
    await pause(ms, signal)
  }
  return false
}

const ballast = (home: string): string => join(home, 'ballast')

/** Lays it down, if it is not there. Rejects when there is no room for it. */
export async function takeBallast(home: string): Promise<void> {
  if ((await stat(ballast(home)).catch(() => null))?.size === ballastBytes) return
  try {
    // Of bytes that no file system makes less of.
    await writeFile(ballast(home), randomFillSync(Buffer.alloc(ballastBytes)), { mode: 0o600 })
  } catch (error) {
    await rm(ballast(home), { force: true })
    throw error
  }
}

/** Gives its room to whoever is first; at once, as nobody may get in between. */
export function dropBallast(home: string): void {
  rmSync(ballast(home), { force: true })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, ms)
    signal.addEventListener('abort', over, { once: true })
  })
}
