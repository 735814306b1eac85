/** Without a jail the same promises hold by other means; here both ways are tried. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startServer, whyNoJail } from './process.ts'
import type { LaunchSpec } from './protocol.ts'

const data = mkdtempSync(join(tmpdir(), 'mcp-process-'))
afterAll(() => rmSync(data, { recursive: true }))

/** Leaves a grandchild in a session of its own that ignores signals, tells its pid and its own variables. */
const program = `
  const { spawn } = require('node:child_process')
  const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6)'], { detached: true, stdio: 'ignore' })
  process.on('SIGTERM', () => {})
  console.log(JSON.stringify({ grandchild: child.pid, variables: Object.keys(process.env).toSorted() }))
  setInterval(() => {}, 1e6)`
const spec: LaunchSpec = {
  name: 'x',
  command: 'node',
  args: ['-e', program],
  env: { GIVEN: '1', LD_PRELOAD: '/evil.so' },
  network: false,
  folders: [],
  code: [],
  data,
  nodeBinary: process.execPath,
}
/** One that has ended and was not collected by whoever adopted it counts as ended. */
const alive = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test.each([false, true])('jail %s: nothing is inherited, and the whole tree ends', async (jailed) => {
  if (jailed) expect(await whyNoJail(spec)).toBeNull()
  const server = await startServer(spec, jailed)
  const line = await new Promise<string>((resolve) => server.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString('utf8'))))
  const { grandchild, variables } = JSON.parse(line) as { grandchild: number; variables: string[] }
  const added = jailed ? ['PWD'] : ['BULKHEAD_SERVER']
  expect(variables).toEqual(['GIVEN', 'HOME', 'LANG', 'PATH', 'TMPDIR', ...added].toSorted())
  await server.end()
  await expect.poll(() => alive(server.pid)).toBe(false)
  // In the jail the number is one of its own process namespace, which is gone with it.
  if (!jailed) await expect.poll(() => alive(grandchild)).toBe(false)
})

test('a command that is not there is told, not thrown at the process', async () => {
  const server = await startServer({ ...spec, command: 'no-such-program' }, true)
  expect(await server.exited).toMatchObject({ code: 1, stderr: expect.stringContaining('no-such-program') })
})
