import { expect, it } from 'vitest'
import { runCommand } from './image-commands.ts'

const shell = (script: string, remedy?: string): Promise<Buffer> =>
  runCommand('sh', ['-c', script], { step: 'make the thing', ...(remedy === undefined ? {} : { remedy }) })

it('what a tool printed last is the cause, and the step’s remedy is told', async () => {
  await expect(shell('echo first >&2; echo second >&2; exit 3', 'Look at the network.')).rejects.toMatchObject({
    code: 'image-failed',
    message: 'Could not make the thing.',
    cause: 'first\nsecond',
    remedy: 'Look at the network.',
  })
})

it('a tool that found the disk full is no matter of the network', async () => {
  await expect(
    shell(
      'echo "E: Write error - write (28: No space left on device)" >&2; echo "E: The package lists could not be parsed." >&2; exit 100',
      'Look at the network.',
    ),
  ).rejects.toMatchObject({
    code: 'disk-full',
    cause: expect.stringContaining('No space left'),
    remedy: expect.stringMatching(/XDG_CACHE_HOME/),
  })
})

it('a tool that is missing is named', async () => {
  await expect(runCommand('no-such-tool', [], { step: 'make the thing' })).rejects.toMatchObject({
    cause: 'no-such-tool is not installed.',
  })
})
