/** The built page: a folder of a few files, read whole, so that no request's path ever reaches the file system. */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'

/** By path from the root: `/index.html`, `/assets/page-1a2b3c.js`. */
export type PageFiles = ReadonlyMap<string, { type: string; bytes: Uint8Array }>

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Null when the page is not built. Files of other kinds are not served. */
export function readPageFiles(dir: string): PageFiles | null {
  try {
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
      const type = types[extname(name)]
      return type ? [[`/${name.replaceAll('\\', '/')}`, { type, bytes: readFileSync(join(dir, name)) }] as const] : []
    })
    return files.some(([name]) => name === '/index.html') ? new Map(files) : null
  } catch {
    return null
  }
}
