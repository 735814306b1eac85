/** axe-core in a page, injected past the page's own policy by the browser's debugger. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { checkout } from './product.ts'

const source = readFileSync(join(checkout, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8')

type Result = { id: string; help: string; nodes: { html: string; failureSummary?: string }[] }
type Axe = { run(context: unknown, options: object): Promise<{ violations: Result[] }> }

/** One line a violation: rule, what it wants, and where. */
export async function axeViolations(page: Page): Promise<string[]> {
  await page.evaluate(source)
  const found = await page.evaluate(async () => {
    const { axe, document } = globalThis as unknown as { axe: Axe; document: unknown }
    const { violations } = await axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    })
    return violations
  })
  return found.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, failureSummary = '' }) => `${id}: ${help}: ${html.slice(0, 200)} ${failureSummary.slice(0, 300)}`),
  )
}
