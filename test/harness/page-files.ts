/** Files a page of the documentation shows, written out: fences that name one, such as ```ts folder/file.ts. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** @returns their names */
export function writePageFiles(page: string, dir: string): string[] {
  return [...page.matchAll(/^```ts (\S+)\n([\s\S]*?)^```$/gm)].map(([, name = '', text = '']) => {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text)
    return name
  })
}
