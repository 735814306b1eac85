import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Question } from './events.ts'
import { linesOf } from './lines.ts'
import { createAsker } from './questions.ts'
import { styleFor } from './style.ts'

const question: Question = {
  id: 'q',
  tool: 'Write',
  title: 'Write report.md',
  detail: '-old\n+new\u001b[1A',
  options: [
    { id: 'allow-once', label: 'Allow once', scope: 'once' },
    { id: 'allow-session', label: 'Allow for this session: write in sales/', scope: 'session' },
    { id: 'deny', label: 'Deny', scope: null },
  ],
}

function asker() {
  const input = new PassThrough()
  let shown = ''
  const ask = createAsker({
    lines: linesOf(input),
    write: (text) => (shown += text),
    style: styleFor({ isTTY: false }, {}),
    screen: { hold: () => {}, release: () => {} },
  })
  return { input, ask, shown: () => shown }
}
const never = new AbortController().signal

test.each([
  ['1', 'allow-once'],
  ['2', 'allow-session'],
  [' 3 ', 'deny'],
])('%j is %s', async (line, option) => {
  const { input, ask } = asker()
  input.write(`${line}\n`)
  expect(await ask(question, never)).toBe(option)
})

test('what is no digit of an option is asked again; the whole detail is shown, harmless', async () => {
  const { input, ask, shown } = asker()
  input.write('y\n0\n4\n\n1\n')
  expect(await ask(question, never)).toBe('allow-once')
  expect(shown().match(/Please answer/g)?.length).toBe(4)
  expect(shown()).toContain('  -old\n  +new\\u{1b}[1A\n')
  expect(shown()).toContain('  2 Allow for this session: write in sales/\n')
})

test('end of input is no answer, and says what would help', async () => {
  const { input, ask, shown } = asker()
  input.end()
  expect(await ask(question, never)).toBeNull()
  expect(await ask(question, never)).toBeNull()
  expect(shown()).toContain('--approve')
})

test('settled elsewhere: the line typed next answers the next question', async () => {
  const { input, ask, shown } = asker()
  const elsewhere = new AbortController()
  const first = ask(question, elsewhere.signal)
  const second = ask({ ...question, title: 'Second' }, never)
  await turn()
  expect(shown()).not.toContain('Second')
  elsewhere.abort()
  expect(await first).toBeNull()
  input.write('3\n')
  expect(await second).toBe('deny')
})

test('a command that stands whole in the title is not said twice; one that does not is shown whole', async () => {
  const shownFor = async (title: string, detail: string) => {
    const { input, ask, shown } = asker()
    input.write('1\n')
    await ask({ ...question, title, detail }, never)
    return shown()
  }
  expect(await shownFor('Run ls -la', 'ls -la')).toContain('wants to: Run ls -la\n  1 Allow once')
  expect(await shownFor('Run ls …', 'ls -la')).toContain('\n  ls -la\n')
  expect(await shownFor('Run ls', 'ls\nrm -r x')).toContain('\n  ls\n  rm -r x\n')
  // The end of a word is not the command.
  expect(await shownFor('Run false', 'se')).toContain('\n  se\n')
})
