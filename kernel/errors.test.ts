import { expect, test } from 'vitest'
import { asFault, errorCodes, fault, isFault } from './errors.ts'

test('docs/ERRORS.md lists exactly these codes (vitest -u rewrites it)', async () => {
  const rows = Object.entries(errorCodes).map(([code, { meaning, remedy }]) => `| \`${code}\` | ${meaning} | ${remedy} |`)
  const page = `# Error codes\n\nEvery refusal and failure carries one of these codes, with a message, usually a cause, and a remedy.\nWritten from \`kernel/errors.ts\`.\n\n| code | meaning | remedy |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  await expect(page).toMatchFileSnapshot('../docs/ERRORS.md')
})

test('codes are kebab-case and every one says what to do', () => {
  for (const [code, { meaning, remedy }] of Object.entries(errorCodes)) {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
    expect(
      [meaning, remedy].every((text) => /^[A-Z].*\.$/.test(text)),
      code,
    ).toBe(true)
  }
})

test('faults pass through, anything else becomes internal with its message as the cause', () => {
  const known = fault('denied', 'no')
  expect(asFault(known)).toBe(known)
  expect(asFault(new Error('boom'))).toMatchObject({ code: 'internal', cause: 'boom' })
  expect(isFault({ code: 'made-up', remedy: '', message: '' })).toBe(false)
})
