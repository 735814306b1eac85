/** The explorer as a researcher uses it: a page that walks a model, by mouse and by keyboard, with links that lead to the very state. */
import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { model as policy } from '../../actors/policy/model.ts'
import { type Explorer, serveExplorer } from '../../checker/explorer/server.ts'
import { createWalk } from '../../checker/explorer/walk.ts'
import { twoPhase } from '../../checker/published/two-phase.ts'
import { kernelAlone } from '../../checker/systems/kernel.ts'
import { axeViolations } from '../harness/axe.ts'
import { type Browser, openBrowser } from '../harness/browser.ts'

const broken = {
  ...twoPhase(2),
  always: { 'rm2 never commits': (view: { actor(id: string): { value: unknown } }) => view.actor('rm2').value !== 'committed' },
}

const served: Explorer[] = []
const open = async (...args: Parameters<typeof createWalk>): Promise<string> => {
  const explorer = await serveExplorer(createWalk(...args))
  served.push(explorer)
  return explorer.url
}
let browser: Browser
beforeAll(async () => {
  browser = await openBrowser({ width: 1400, height: 1000 })
})
afterAll(async () => {
  await browser.close()
  for (const explorer of served) await explorer.close()
})

test('a system is walked step by step; each step says what it changes, and back leads back', async () => {
  const { page } = browser
  await page.goto(await open(kernelAlone(), 50_000))
  await page.getByText('every property holds').waitFor()
  // What a step takes away and what it brings are told apart by colour, and from the rest.
  const colourOf = (selector: string): Promise<string> =>
    page
      .locator(selector)
      .first()
      .evaluate((node) => (globalThis as unknown as { getComputedStyle(of: unknown): { color: string } }).getComputedStyle(node).color)
  expect(new Set([await colourOf('#steps del'), await colourOf('#steps ins'), await colourOf('#steps button')]).size).toBe(3)
  await page.getByRole('button', { name: 'owner: lend' }).click()
  await page.getByRole('button', { name: 'worker: borrow from owner' }).click()
  await expect.poll(() => page.locator('#path li').count()).toBe(2)
  await expect.poll(() => page.url()).toMatch(/#\d+\.\d+$/)
  await expect.poll(() => page.locator('#state').innerText()).toContain('slot')
  await expect.poll(() => page.locator('#sequence svg text').allTextContents()).toEqual(expect.arrayContaining(['owner', 'worker']))
  await page.getByRole('button', { name: 'Back one step' }).click()
  await expect.poll(() => page.locator('#path li').count()).toBe(1)
  if (process.env['SHOTS']) await page.screenshot({ path: `${process.env['SHOTS']}/kernel.png`, fullPage: true })
})

test('a broken property links to its counterexample, and the address to the state it ends in', async () => {
  const { page } = browser
  const url = await open(broken, 50_000)
  await page.goto(url)
  await page.getByRole('button', { name: 'show the counterexample' }).first().click()
  await expect.poll(() => page.locator('#state').innerText()).toContain('"committed"')
  const link = page.url()
  await page.goto('about:blank')
  await page.goto(link)
  await expect.poll(() => page.locator('#state').innerText()).toContain('"committed"')
  await page.goto(`${url}#9999`)
  await expect.poll(() => page.url()).toBe(`${url}#`)
  if (process.env['SHOTS']) {
    await page.goto('about:blank')
    await page.goto(link)
    await page.locator('#path li').last().waitFor()
    await page.screenshot({ path: `${process.env['SHOTS']}/broken.png`, fullPage: true })
  }
})

test('an actor shows its statechart with the state it is in; the keyboard is enough', async () => {
  const { page } = browser
  await page.goto(await open(policy, 50_000))
  await page.getByText('every property holds').waitFor()
  // The verdict and the pictures are asked for apart: either may be there first.
  await page.locator('#charts svg .here').first().waitFor({ state: 'attached' })
  type Box = { left: number; right: number; top: number; bottom: number }
  const labels = await page.locator('#charts .label').evaluateAll((nodes) =>
    (nodes as unknown as { textContent: string; getBoundingClientRect(): Box }[]).map((node) => {
      const { left, right, top, bottom } = node.getBoundingClientRect()
      return { text: node.textContent, left, right, top, bottom }
    }),
  )
  expect(labels.length).toBeGreaterThan(3)
  const overprinted = labels.flatMap((one, index) =>
    labels
      .slice(index + 1)
      .filter((other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom)
      .map((other) => `${one.text} and ${other.text}`),
  )
  expect(overprinted).toEqual([])
  await page.locator('#steps button').first().focus()
  await page.keyboard.press('Enter')
  await expect.poll(() => page.locator('#path li').count()).toBe(1)
  const focusIsOnSteps = () =>
    (globalThis as unknown as { document: { activeElement: { closest(selector: string): unknown } } }).document.activeElement.closest(
      '#steps',
    ) !== null
  await expect.poll(() => page.evaluate(focusIsOnSteps)).toBe(true)
  if (process.env['SHOTS']) await page.screenshot({ path: `${process.env['SHOTS']}/policy.png`, fullPage: true })
})

test('nothing is wrong in the console or for assistive technology, and no other host is answered', async () => {
  const { page, errors } = browser
  expect(errors.filter((text) => !text.includes('400'))).toEqual([])
  expect(await axeViolations(page)).toEqual([])
  const { port } = new URL(page.url())
  const status = await new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/place', headers: { host: 'evil.example' } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  expect(status).toBe(421)
})
