/** The page stays small: everything its first load needs, compressed as a browser would get it. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'

const most = 60_000
const root = join(import.meta.dirname, '..', '..')

test(`the first load is at most ${most / 1000} kB`, () => {
  const out = mkdtempSync(join(tmpdir(), 'bulkhead-page-'))
  try {
    const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
    const config = join(import.meta.dirname, 'vite.config.ts')
    execFileSync(process.execPath, [vite, 'build', '--config', config, '--outDir', out, '--logLevel', 'error'], {
      env: { ...process.env, NODE_ENV: 'production' },
    })
    const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const sizes = files.map(({ parentPath, name }) => [name, gzipSync(readFileSync(join(parentPath, name))).length] as const)
    expect(new Set(files.map(({ name }) => name.split('.').at(-1)))).toEqual(new Set(['css', 'html', 'js', 'svg']))
    expect(
      sizes.reduce((sum, [, size]) => sum + size, 0),
      JSON.stringify(sizes),
    ).toBeLessThanOrEqual(most)
    const html = readFileSync(join(out, 'index.html'), 'utf8')
    expect(html, 'nothing inline: the policy would refuse it').not.toMatch(/<style|style=|<script(?![^>]*src=)| on\w+=/)
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
})
