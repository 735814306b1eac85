/** How set-up shows what the image's builder reports, and what becomes of a builder that fails. */
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { progressText } from '../actors/vm-supervisor/image-progress.ts'
import { buildVmImage } from './vm-image.js'

const root = join(import.meta.dirname, '..')

/** A builder that prints these lines. */
async function build(lines: readonly string[], code = 0): Promise<{ shown: string[]; dir: string }> {
  const shown: string[] = []
  const progress = {
    phase: (text: string) => void shown.push(`- ${text}`),
    detail: (text: string) => void shown.push(text),
    done() {},
    fail() {},
  }
  const run = async (command: string[], { onLine }: { onLine?: (line: string) => void }) => {
    expect(command.at(-1)).toBe(join(root, 'setup', 'image.ts'))
    for (const line of lines) onLine?.(line)
    return { code, tail: [...lines] }
  }
  const dir = await buildVmImage({ root, env: {}, progress, run: run as never })
  return { shown, dir }
}
const report = (line: object): string => JSON.stringify(line)

test('each step is named, and what it is at; words of its tools as they are', async () => {
  const download = { step: 'download', detail: 'Packages', fraction: 0.553 } as const
  const { shown, dir } = await build([
    report({ type: 'progress', ...download }),
    report({ type: 'progress', step: 'root', detail: 'Setting up libc6' }),
    'a warning of Node',
    report({ type: 'progress', step: 'finish', detail: 'Checking the image' }),
    report({ type: 'done', dir: dirname('/images/x/y') }),
  ])
  expect(dir).toBe('/images/x')
  expect(shown).toEqual([
    '- fetching Debian packages',
    'Packages 55 %',
    '- making the root file system',
    'Setting up libc6',
    'a warning of Node',
    '- checking',
    'Checking the image',
  ])
  // As who waits for the workspace hears it.
  expect(progressText(download)).toBe('Packages (55 %)')
})

test('a builder that fails is told with its own fault, one that dies without a word with its last lines', async () => {
  const fault = { code: 'disk-full', message: 'No room.', remedy: 'Make some.' }
  await expect(build([report({ type: 'failed', fault })], 1)).rejects.toMatchObject({ fault })
  await expect(build(['Segmentation fault'], 139)).rejects.toMatchObject({
    fault: { code: 'image-failed', cause: expect.stringContaining('139:\nSegmentation fault') },
  })
})
