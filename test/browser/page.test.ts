/** The page as a person uses it: by clicking, by keys alone, in two windows, after a reload. No test looks inside it. */
import { axeViolations } from '../harness/axe.ts'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Browser, openBrowser, pageAddress } from '../harness/browser.ts'
import { checkout, type Home, openHome } from '../harness/product.ts'
import { totalsOf, wrongTotals } from '../harness/report.ts'
import { say, type ScriptedServer, startScriptedServer } from '../harness/scripted-messages-server.ts'

const sales = join(checkout, 'examples', 'sales')

const dialog = (page: Page) => page.getByRole('dialog')
const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name })

async function ask(page: Page, text: string): Promise<void> {
  await page.getByLabel('What should be done').fill(text)
  await page.keyboard.press('Enter')
}

async function connectFolder(page: Page, path: string): Promise<void> {
  await button(page, '+ Connect a folder').click()
  await dialog(page).getByLabel('Path of the folder').fill(path)
  await dialog(page).getByRole('button', { name: 'Connect', exact: true }).click()
  await dialog(page).waitFor({ state: 'detached' })
}

/** Answers questions as they come, until the turn's end is said. */
async function answerUntilEnd(page: Page, key: string): Promise<string[]> {
  const titles: string[] = []
  const ended = page.getByRole('status').filter({ hasText: /^(Finished|Ended|Interrupted)/ })
  for (;;) {
    await dialog(page).or(ended).first().waitFor()
    if (!(await dialog(page).isVisible())) return titles
    titles.push(await dialog(page).getByRole('heading').innerText())
    // A question does not listen in its first half second, so that nobody answers it by accident.
    while (await dialog(page).isVisible()) {
      await page.keyboard.press(key)
      await page.waitForTimeout(100)
    }
  }
}

/** Loads the page anew and holds back what it says to the gateway. @returns to let it go */
async function reloadHeld(page: Page): Promise<() => void> {
  const held = Promise.withResolvers<void>()
  await page.routeWebSocket('**/acp', (socket) => {
    const gateway = socket.connectToServer()
    socket.onMessage((message) => void held.promise.then(() => gateway.send(message)))
  })
  await page.reload()
  await page.getByText('Connecting …').waitFor()
  return held.resolve
}

let home: Home
let browser: Browser

describe('the main job', () => {
  beforeAll(() => {
    home = openHome()
  })
  afterAll(() => home.close())

  test('connect a folder, ask, approve, see the report, revoke, and the next read is refused', async () => {
    const folder = home.copyOf(sales, 'sales')
    browser = await openBrowser()
    try {
      const { page } = browser
      await page.goto(await pageAddress(home))
      await page.getByText('Practice model').first().waitFor()
      await connectFolder(page, folder)
      await ask(page, 'Total the sales by region and write report.md')
      const questions = await answerUntilEnd(page, '1')
      expect(questions.join('\n')).toMatch(/Bulkhead wants to write sales\/report\.md/)
      expect(questions.join('\n')).toMatch(/Bulkhead wants to run/)
      const tables = readdirSync(sales).map((name) => readFileSync(join(sales, name), 'utf8'))
      expect(wrongTotals(readFileSync(join(folder, 'report.md'), 'utf8'), totalsOf(tables, 'region', 'amount'))).toEqual([])
      await page.getByRole('log').getByText('Write sales/report.md').waitFor()

      await ask(page, 'Read report.md')
      await page.getByRole('log').getByText('Read sales/report.md').waitFor()
      await answerUntilEnd(page, '1')

      await button(page, /^Revoke sales\//).click()
      await page.getByText('No folder. It sees none of your files.').waitFor()
      const calls = await page.getByRole('log').locator('.tool').count()
      await ask(page, 'Read report.md')
      // Not by the status: until this turn begins it tells of the one before.
      const after = async () => {
        const log = await page.getByRole('log').innerText()
        return log.slice(log.lastIndexOf('Read report.md'))
      }
      await expect.poll(after).toMatch(/not connected|no connected folder|No folder|outside-folder|connect/i)
      expect(await page.getByRole('log').locator('.tool.done').count()).toBeLessThanOrEqual(calls)
      expect(browser.errors).toEqual([])
    } finally {
      await browser.close()
    }
  })
})

describe('the page', () => {
  beforeAll(() => {
    home = openHome({ env: { BULKHEAD_VM: 'off' } })
  })
  afterAll(() => home.close())
  beforeEach(async () => {
    browser = await openBrowser()
    await browser.page.goto(await pageAddress(home))
    await browser.page.getByRole('heading', { name: 'What should be done?' }).waitFor()
  })
  afterEach(() => browser.close())

  test('takes its key out of the address, and opens nothing without it', async () => {
    const { page, context } = browser
    expect(page.url()).not.toContain('#k=')
    const other = await context.newPage()
    await other.goto(page.url())
    await other.getByRole('heading', { name: 'This address does not open Bulkhead any more' }).waitFor()
    expect(await other.getByLabel('What should be done').count()).toBe(0)
  })

  test('what is asked for before the page is connected is done when it is, in the session of the address', async () => {
    const { page } = browser
    await connectFolder(page, home.copyOf(sales, 'early'))
    await page.getByText('early/ can be read now').waitFor()
    const address = page.url()
    const letGo = await reloadHeld(page)
    await button(page, '+ Connect a folder').click()
    await dialog(page).getByLabel('Path of the folder').fill(home.copyOf(sales, 'too'))
    await dialog(page).getByRole('button', { name: 'Connect', exact: true }).click()
    await dialog(page).getByText('Waiting for the connection').waitFor()
    letGo()
    await dialog(page).waitFor({ state: 'detached' })
    await button(page, /^Revoke early/).waitFor()
    await button(page, /^Revoke too/).waitFor()
    expect(page.url()).toBe(address)
    const again = await reloadHeld(page)
    await ask(page, 'List the files')
    again()
    await page.getByRole('status').filter({ hasText: 'Finished' }).waitFor()
    expect(page.url()).toBe(address)
    expect(browser.errors).toEqual([])
  })

  test('a folder is not connected when that was cancelled before the page was connected', async () => {
    const { page } = browser
    const letGo = await reloadHeld(page)
    await button(page, '+ Connect a folder').click()
    await dialog(page).getByLabel('Path of the folder').fill(home.copyOf(sales, 'not'))
    await dialog(page).getByRole('button', { name: 'Connect', exact: true }).click()
    await dialog(page).getByRole('button', { name: 'Cancel' }).click()
    await button(page, '+ Connect a folder').click()
    await dialog(page).getByLabel('Path of the folder').fill(home.copyOf(sales, 'this'))
    await dialog(page).getByRole('button', { name: 'Connect', exact: true }).click()
    letGo()
    await button(page, /^Revoke this/).waitFor()
    await dialog(page).waitFor({ state: 'detached' })
    expect(await button(page, /^Revoke/).count()).toBe(1)
  })

  test('while the page connects, approvals that are chosen hold, and a request that is interrupted is not sent', async () => {
    const { page } = browser
    const folder = home.copyOf(sales, 'chosen')
    await connectFolder(page, folder)
    const approvals = page.getByRole('combobox', { name: 'Approvals' })
    await approvals.selectOption('Change files without asking')
    const letGo = await reloadHeld(page)
    await approvals.selectOption('Refuse whatever would ask')
    await ask(page, 'Write "once" to once.md')
    await button(page, 'Stop').waitFor()
    await page.keyboard.press('Escape')
    await button(page, 'Stop').waitFor({ state: 'detached' })
    expect(await page.getByLabel('What should be done').inputValue()).toBe('Write "once" to once.md')
    await ask(page, 'Write "again" to again.md')
    letGo()
    await page.getByRole('log').getByText('again.md').first().waitFor()
    await page
      .getByRole('status')
      .filter({ hasText: /^(Finished|Ended)/ })
      .waitFor()
    expect(await approvals.inputValue()).toBe('none')
    expect(readdirSync(folder).filter((name) => name.endsWith('.md'))).toEqual([])
    expect(await page.getByRole('log').innerText()).not.toContain('once.md')
  })

  test('a request that is left before the page is connected runs in a session of its own', async () => {
    const { page } = browser
    const letGo = await reloadHeld(page)
    await ask(page, 'Write "left" to left.md')
    await button(page, 'Stop').waitFor()
    await button(page, '+ New task').click()
    await button(page, 'Stop').waitFor({ state: 'detached' })
    await ask(page, 'List the files of the second')
    letGo()
    const sessions = page.getByRole('navigation', { name: 'Sessions' })
    await sessions.getByRole('button', { name: /^List the files of the second/ }).waitFor()
    await page
      .getByRole('status')
      .filter({ hasText: /^(Finished|Ended)/ })
      .waitFor()
    expect(await page.getByRole('log').innerText()).not.toContain('left.md')
    await sessions.getByRole('button', { name: /^Write "left" to left.md/ }).click()
    await page.getByRole('log').getByText('Write "left" to left.md').first().waitFor()
    expect(await page.getByRole('log').innerText()).not.toContain('of the second')
  })

  test('a dialog has the keys from the click that opens it', async () => {
    const { page } = browser
    // As soon as any other event could come: the page has drawn nothing by then.
    const opened = `new Promise((done) => {
      document.querySelector('#add-folder').click()
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => done(document.querySelector('dialog')?.open === true)
      port2.postMessage(null)
    })`
    expect(await page.evaluate(opened)).toBe(true)
  })

  test('a folder connected before is offered, and connected when its button is pressed', async () => {
    const { page } = browser
    const [first, second] = [home.copyOf(sales, 'lately <b>one'), home.copyOf(sales, 'lately two')]
    for (const path of [first, second]) await connectFolder(page, path)
    await button(page, '+ Connect a folder').click()
    const offered = dialog(page).getByRole('region', { name: 'Connected lately' })
    await dialog(page).waitFor()
    // What is connected already is not offered.
    expect(await offered.getByRole('button', { name: /lately (<b>one|two)$/ }).count()).toBe(0)
    await page.keyboard.press('Escape')
    await button(page, '+ New task').click()
    await button(page, '+ Connect a folder').click()
    await expect.poll(async () => (await offered.getByRole('button').allInnerTexts()).slice(0, 2)).toEqual([second, first])
    await offered.getByRole('button', { name: first, exact: true }).click()
    expect(await dialog(page).getByLabel('Path of the folder').inputValue()).toBe(first)
    expect(await page.getByRole('button', { name: /^Revoke/ }).count()).toBe(0)
    await page.keyboard.press('Enter')
    await dialog(page).waitFor({ state: 'detached' })
    await button(page, /^Revoke lately/).waitFor()
    expect(browser.errors).toEqual([])
  })

  test('works by keys alone', async () => {
    const { page } = browser
    const folder = home.copyOf(sales, 'keys')
    await page.locator('body').press('g')
    await page.keyboard.press('f')
    await page.keyboard.press('Enter')
    await dialog(page).waitFor()
    await page.keyboard.type(folder)
    await page.keyboard.press('Enter')
    await dialog(page).waitFor({ state: 'detached' })
    expect(await page.locator(':focus').getAttribute('id')).toBe('add-folder')
    await page.keyboard.press('/')
    await page.keyboard.type('Write "hello" to notes.md')
    await page.keyboard.press('Enter')
    expect(await answerUntilEnd(page, '1')).toEqual(['Bulkhead wants to write keys/notes.md'])
    expect(readFileSync(join(folder, 'notes.md'), 'utf8')).toContain('hello')
    expect(await page.locator(':focus').getAttribute('id'), 'focus is back').toBe('input')
    await page.keyboard.type('Write "no" to denied.md')
    await page.keyboard.press('Enter')
    await answerUntilEnd(page, 'Escape')
    expect(existsSync(join(folder, 'denied.md'))).toBe(false)
  })

  test('tool servers are among what it can reach, and what was allowed of them for the session can be taken back', async () => {
    const { page } = browser
    const program = join(checkout, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js')
    expect((await home.call(['mcp', 'add', 'everything', '--', 'node', program, 'stdio'])).code).toBe(0)
    const use = 'use tool mcp__everything__echo with message="ahoy there"'
    await ask(page, use)
    expect(await answerUntilEnd(page, '2')).toHaveLength(1)
    const reach = page.getByRole('region', { name: 'Can reach' })
    await reach.getByText(/^tool server, \d+ tools, no network$/).waitFor()
    await ask(page, use)
    expect(await answerUntilEnd(page, '1')).toEqual([])
    await reach.getByRole('button', { name: 'Revoke call mcp__everything__echo' }).click()
    await reach.getByText('Calls this tool without asking').waitFor({ state: 'detached' })
    await ask(page, use)
    expect(await answerUntilEnd(page, '1')).toHaveLength(1)
    await home.call(['mcp', 'remove', 'everything'])
  })

  test('a reload changes nothing: what was said is there, the open question too', async () => {
    const { page } = browser
    const folder = home.copyOf(sales, 'reload')
    await connectFolder(page, folder)
    await ask(page, 'List the files')
    await page.getByRole('status').filter({ hasText: 'Finished' }).waitFor()
    await ask(page, 'Write "again" to notes.md')
    await dialog(page).waitFor()
    await page.reload()
    await dialog(page).waitFor()
    expect(await dialog(page).innerText()).toContain('+again')
    await page.getByRole('log').getByText('2025-q2.csv').first().waitFor()
    await answerUntilEnd(page, '2')
    await button(page, 'Revoke write in reload/').waitFor()
    expect(readFileSync(join(folder, 'notes.md'), 'utf8')).toContain('again')
  })

  test('two windows on one session: the first answer closes the question in both and says whose it was', async () => {
    const { page, context } = browser
    const folder = home.copyOf(sales, 'two')
    await connectFolder(page, folder)
    const second = await context.newPage()
    const session = new URL(page.url()).hash
    await second.goto(`${await pageAddress(home)}&${session.slice(1)}`)
    await second.getByText('two/ can be read now').waitFor()
    await ask(page, 'Write "hello" to notes.md')
    await dialog(second).waitFor()
    await dialog(page).waitFor()
    await second.bringToFront()
    while (await dialog(second).isVisible()) {
      await second.keyboard.press('3')
      await second.waitForTimeout(100)
    }
    await dialog(page).waitFor({ state: 'detached' })
    expect(existsSync(join(folder, 'notes.md'))).toBe(false)
    await second.getByRole('log').getByText('notes.md').first().waitFor()
    await second.getByRole('log').getByText('Write "hello" to notes.md').waitFor()
    await page.getByRole('log').getByText('denied').first().waitFor()
  })

  test('what a file says is shown as text: no markup, no script, no picture from elsewhere', async () => {
    const { page } = browser
    const folder = home.folder('hostile')
    writeFileSync(
      join(folder, 'page.md'),
      '<img src=x onerror="document.title=1">\n\n![track](https://evil.example/p.png)\n\n[click](javascript:document.title=1)\n\n<script>document.title=1</script>\n',
    )
    const requests: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    await connectFolder(page, folder)
    await ask(page, 'Read page.md')
    await page.getByRole('status').filter({ hasText: 'Finished' }).waitFor()
    await page.getByRole('log').getByText('evil.example').first().waitFor()
    expect(await page.locator('.answer img, .answer script, a[href^="javascript"]').count()).toBe(0)
    expect(requests.filter((url) => url.includes('evil.example'))).toEqual([])
    expect(await page.title()).not.toBe('1')
  })
})

/** With a page whose model answers the first request once `finish` was called, and the others, by the same count, as these say. */
async function withHeldAnswer(
  others: readonly string[],
  work: (it: { page: Page; server: ScriptedServer; finish(): void }) => Promise<void>,
): Promise<void> {
  const held = Promise.withResolvers<void>()
  const finish = (): void => held.resolve()
  const first = async () => {
    await held.promise
    return [say('first')]
  }
  const server = await startScriptedServer([first, ...others.map((text) => [say(text)])])
  const own = openHome({ env: { BULKHEAD_VM: 'off', ANTHROPIC_API_KEY: 'sk-test', ANTHROPIC_BASE_URL: server.baseUrl } })
  browser = await openBrowser()
  try {
    await browser.page.goto(await pageAddress(own))
    await work({ page: browser.page, server, finish })
  } finally {
    finish()
    await browser.close()
    await own.close()
    await server.close()
  }
}

test('while it works, the next requests wait their turn, one is deleted, and Esc interrupts', () =>
  withHeldAnswer(['second'], async ({ page, server }) => {
    await ask(page, 'one')
    await button(page, 'Stop').waitFor()
    await expect.poll(() => server.requests.length).toBe(1)
    await ask(page, 'two')
    await page.getByLabel('What should be done').fill('three')
    await page.keyboard.press('Tab')
    await button(page, 'Do not send: three').click()
    expect(await page.getByRole('list', { name: 'Waiting to be sent' }).innerText()).toContain('two')
    await page.keyboard.press('Escape')
    await page.getByRole('log').getByText('Interrupted.').waitFor()
    await page.getByRole('log').getByText('second').waitFor()
    expect(server.requests.map(({ body }) => JSON.stringify(body)).join()).not.toContain('three')
  }))

test('what waits its turn in one session is sent there, also while another is on screen', () =>
  withHeldAnswer(['of the other', 'second'], async ({ page, server, finish }) => {
    const waiting = page.getByRole('list', { name: 'Waiting to be sent' })
    await ask(page, 'one')
    await expect.poll(() => server.requests.length).toBe(1)
    await ask(page, 'two')
    await waiting.getByText('two').waitFor()
    await button(page, '+ New task').click()
    await waiting.waitFor({ state: 'detached' })
    await ask(page, 'another')
    await page.getByRole('log').getByText('of the other').waitFor()
    finish()
    await expect.poll(() => server.requests.length).toBe(3)
    await page.getByRole('navigation', { name: 'Sessions' }).getByRole('button', { name: /^one/ }).click()
    await page.getByRole('log').getByText('second').waitFor()
    expect(await page.getByRole('log').innerText()).toMatch(/one[\s\S]*first[\s\S]*two[\s\S]*second/)
    const [, other, last] = server.requests.map(({ body }) => JSON.stringify(body.messages))
    expect(other).not.toMatch(/"(one|two)"/)
    expect(last).toMatch(/one.*two/)
  }))

describe.each([
  ['light', {}],
  ['dark', { dark: true }],
  ['narrow', { width: 390, height: 780 }],
])('accessibility, %s', (_name, options) => {
  beforeAll(() => {
    home = openHome({ env: { BULKHEAD_VM: 'off' } })
  })
  afterAll(() => home.close())

  test('axe finds nothing on the first page, in a dialog, in a question, and at the end', async () => {
    browser = await openBrowser(options)
    try {
      const { page } = browser
      const narrow = 'width' in options
      const view = async (name: string) => void (narrow && (await page.getByRole('button', { name, exact: true }).click()))
      await page.goto(await pageAddress(home))
      await page.getByRole('heading', { name: 'What should be done?' }).waitFor()
      expect(await violations(page)).toEqual([])
      await view('Control')
      await button(page, '+ Connect a folder').click()
      expect(await violations(page)).toEqual([])
      await dialog(page).getByLabel('Path of the folder').fill(home.copyOf(sales, 'axe'))
      await dialog(page).getByRole('button', { name: 'Connect', exact: true }).click()
      await dialog(page).waitFor({ state: 'detached' })
      await view('Conversation')
      await ask(page, 'Write "hello" to notes.md')
      await dialog(page).waitFor()
      expect(await violations(page)).toEqual([])
      await answerUntilEnd(page, '2')
      await page.locator('.tool summary').first().click()
      expect(await violations(page)).toEqual([])
      await view('Control')
      expect(await violations(page)).toEqual([])
      await view('Sessions')
      expect(await violations(page)).toEqual([])
    } finally {
      await browser.close()
    }
  })
})

/** What axe has against the page now, by its rules for WCAG 2.2 A and AA and its best practices. */
async function violations(page: Page): Promise<string[]> {
  // Halfway through a fade, colours are not what they will be.
  await page.evaluate(`Promise.all(
    document.getAnimations()
      .filter(({ effect }) => effect?.getComputedTiming().iterations !== Infinity)
      .map(({ finished }) => finished.catch(() => null)),
  ).then(() => null)`)
  return axeViolations(page)
}
