import { expect, test } from 'vitest'
import { explore } from './explore.ts'

test.each(['policy', 'kernel'])('%s is served until it is ended', async (name) => {
  let said: (url: string) => void
  const url = new Promise<string>((resolve) => {
    said = resolve
  })
  let end: () => void
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const code = explore({ name, port: 0, out: (text) => said(text.trim()), ended })
  const page = await fetch(await url)
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<title>')])
  const place = (await (await fetch(new URL('place?path=0', await url))).json()) as { path: number[]; choices: unknown[] }
  expect([place.path, place.choices.length > 0]).toEqual([[0], true])
  end!()
  expect(await code).toBe(0)
  await expect(fetch(await url)).rejects.toThrow()
})

test('a name without a model is a usage error that says which there are', async () => {
  await expect(explore({ name: 'nobody', port: 0, out: () => {}, ended: Promise.resolve() })).rejects.toThrow(/there are: .*vm-supervisor/)
})
