/** Where the member's egress rules are kept (I/O): one JSON file, replaced whole. */
import { constants } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { limits } from './limits.ts'
import { closedRules, keptRules, type Rules, startRules } from './rules.ts'

/** A file that is there and cannot be used allows nothing; `problem` says why. Never rejects. */
export async function loadRules(dir: string): Promise<{ rules: Rules; problem: string | null }> {
  const file = path.join(dir, 'rules.json')
  try {
    if ((await fs.stat(file)).size > limits.rulesFileBytes) throw new Error(`it is larger than ${limits.rulesFileBytes} bytes`)
    const { member, sessions } = keptRules.parse(JSON.parse(await fs.readFile(file, 'utf8')))
    return { rules: { member, sessions }, problem: null }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { rules: startRules, problem: null }
    const [why] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { rules: closedRules, problem: `${file} cannot be used, so nothing is allowed: ${why}` }
  }
}

/** Rejects with the file system's error; the file is then as it was. */
export async function saveRules(dir: string, rules: Rules): Promise<void> {
  const file = path.join(dir, 'rules.json')
  const draft = `${file}.new`
  // Written through to the disk: Node's permission model leaves this process no fsync.
  const flag = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_SYNC
  await fs.writeFile(draft, `${JSON.stringify({ version: 1, ...rules }, null, 2)}\n`, { flag, mode: 0o600 })
  await fs.rename(draft, file)
}
