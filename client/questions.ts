/**
 * Asks the member: the question on stderr, whole, and a digit from stdin. The options and their scopes are the daemon's. End of input
 * is no answer; the daemon then refuses what was asked.
 */
import type { Question } from './events.ts'
import type { Lines } from './lines.ts'
import { oneLine, printable } from './printable.ts'
import type { Style } from './style.ts'

/** What else writes to the terminal; it waits while a question is there. */
type Screen = { hold(): void; release(): void }
export type Asker = (question: Question, signal: AbortSignal) => Promise<string | null>

export function createAsker(options: { lines: Lines; write(text: string): unknown; style: Style; screen: Screen }): Asker {
  const { lines, write, style, screen } = options
  /** One question at a time on one terminal. */
  let last: Promise<unknown> = Promise.resolve()

  async function ask(question: Question, signal: AbortSignal): Promise<string | null> {
    if (signal.aborted) return null
    const keys = question.options.map(({ label }, at) => `  ${at + 1} ${printable(label)}`).join('\n')
    const title = oneLine(question.title, 300)
    const told = printable(question.detail).trim()
    // A short command stands whole in the title already.
    const more = told !== '' && title.endsWith(` ${told}`) ? '' : `${detail(question.detail, style)}\n`
    write(`\n${style.paint('bold', `Bulkhead wants to: ${title}`)}\n${more}${keys}\n`)
    for (;;) {
      write('Answer with a digit: ')
      const line = await lines.next(signal)
      if (signal.aborted) {
        write('\nThe question was settled elsewhere.\n')
        return null
      }
      if (line === null) {
        write(
          '\nNo answer can be read here, so it is not allowed. What to do: run it in a terminal, or choose --approve edits or --approve all.\n',
        )
        return null
      }
      const chosen = question.options[Number(line.trim()) - 1]
      if (chosen) return chosen.id
      write(`Please answer with one of the digits 1 to ${question.options.length}.\n`)
    }
  }

  return (question, signal) => {
    const turn = last.then(async () => {
      screen.hold()
      try {
        return await ask(question, signal)
      } finally {
        screen.release()
      }
    })
    last = turn.catch(() => {})
    return turn
  }
}

/** Never cut: the member answers for all of it. */
function detail(text: string, style: Style): string {
  return printable(text)
    .split('\n')
    .map((line) => `  ${line.startsWith('+') ? style.paint('green', line) : line.startsWith('-') ? style.paint('red', line) : line}`)
    .join('\n')
}
