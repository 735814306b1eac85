/** Debian's Chromium, driven through playwright-core, on a page of a home's own daemon. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Home } from './product.ts'

const program = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))

export type Browser = {
  context: BrowserContext
  page: Page
  /** What the page logged as an error, and every exception in it. */
  errors: string[]
  close(): Promise<void>
}

/** A busy machine is no defect: what takes this long hangs for good. Less than the runner's, which cannot say what was waited for, ms. */
const hangsMs = 240_000

/** A new profile each time. Throws when there is no Chromium. */
export async function openBrowser({
  width = 1280,
  height = 800,
  dark = false,
}: {
  width?: number
  height?: number
  dark?: boolean
} = {}): Promise<Browser> {
  if (!program) throw new Error('Chromium is not installed (on Debian and Ubuntu: apt-get install --no-install-recommends chromium).')
  const profile = mkdtempSync(join(tmpdir(), 'bulkhead-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program,
    headless: true,
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    args: [
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  context.setDefaultTimeout(hangsMs)
  const page = context.pages()[0] ?? (await context.newPage())
  const errors: string[] = []
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', (error) => errors.push(String(error)))
  return {
    context,
    page,
    errors,
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true })
    },
  }
}

/** The address of a home's page, with its token. */
export async function pageAddress(home: Home): Promise<string> {
  const { code, stdout, story } = await home.call(['web', '--no-open'])
  if (code !== 0) throw new Error(`web ended with ${code}.\n${story}`)
  return stdout.trim()
}
