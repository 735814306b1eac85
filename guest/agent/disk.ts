/**
 * Where sessions keep their files: a disk of the host's, blank at the first boot of an image, formatted here and divided by user quotas.
 * Nothing on it outlives the machine. Without such a disk it is a folder in memory, with no quotas.
 */
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { firstUid } from '../wire.ts'
import { maxSessions, quotaShare, sessionFiles, toolMs } from './limits.ts'
import { runTool } from './tools.ts'

export const scratchDir = '/scratch'
const device = '/dev/vdb'
/** Looked at before it is formatted: a partition table, a superblock or a label would be in there. */
const lookedAt = 128 * 1024

export type Disk = {
  /** Gives the user its share; nothing to do for the first ones, who have it from the start. */
  allot(uid: number): Promise<void>
}

/** Mounts it. Rejects only if not even a folder can be made. */
export async function prepareDisk(complain: (message: string) => void): Promise<Disk> {
  await mkdir(scratchDir, { recursive: true, mode: 0o700 })
  try {
    if (!(await mountDisk())) return { allot: async () => {} }
    const { bsize, blocks } = await statfs(scratchDir)
    const kib = Math.floor((bsize * blocks * quotaShare) / 1024)
    const first = Array.from({ length: maxSessions }, (_, at) => firstUid + at)
    await setQuotas(first, kib)
    return {
      async allot(uid) {
        if (uid >= firstUid + maxSessions) await setQuotas([uid], kib)
      },
    }
  } catch (error) {
    complain(`the scratch disk cannot be used: ${error instanceof Error ? error.message : String(error)}`)
    return { allot: async () => {} }
  }
}

/** Of the disk, or of what stands for it. */
export async function freeShare(): Promise<number> {
  const { blocks, bavail } = await statfs(scratchDir)
  return bavail / blocks
}

async function mountDisk(): Promise<boolean> {
  // An agent that starts again finds it mounted.
  if ((await runTool('mountpoint', ['-q', scratchDir]).catch(() => null)) !== null) {
    await rm(`${scratchDir}/slots`, { recursive: true, force: true })
    return true
  }
  const blank = await isBlank()
  if (blank === null) return false
  if (blank) {
    // A journal would guard what is thrown away at the end anyway.
    const options = ['-O', '^has_journal,quota', '-E', 'lazy_itable_init=1,nodiscard,quotatype=usrquota', '-m', '0']
    await runTool('mke2fs', ['-q', '-t', 'ext4', ...options, device])
  }
  await runTool('mount', ['-i', '-t', 'ext4', '-o', 'nodev,nosuid,noatime,usrquota,discard,noinit_itable', device, scratchDir])
  return true
}

/** Null when there is no such disk. */
async function isBlank(): Promise<boolean | null> {
  const disk = await open(device, 'r').catch(() => null)
  if (disk === null) return null
  try {
    const { buffer, bytesRead } = await disk.read(Buffer.alloc(lookedAt), 0, lookedAt, 0)
    return bytesRead === lookedAt && buffer.every((byte) => byte === 0)
  } finally {
    await disk.close()
  }
}

/** Hard limits of space and files alike, for all of these in one go. */
function setQuotas(uids: readonly number[], kib: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('setquota', ['-b', '-u', scratchDir], { stdio: ['pipe', 'ignore', 'pipe'], timeout: toolMs })
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-1000)))
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`setquota: ${said.trim()}`))))
    child.stdin.end(uids.map((uid) => `${uid} ${kib} ${kib} ${sessionFiles} ${sessionFiles}\n`).join(''))
  })
}
