/** What a prompt asks for, clause by clause. Pure. */
import { restore, splitPrompt } from './clauses.ts'
import type { Question } from './question.ts'
import { recognise } from './recognisers.ts'

export type Intent =
  | { do: 'list'; pattern: string; path: string | null }
  | { do: 'read'; files: readonly string[]; offset?: number; limit?: number }
  | { do: 'search'; pattern: string; path: string | null; glob: string | null; shown: string }
  | { do: 'tabulate'; question: Question }
  | { do: 'run'; command: string; timeoutMs?: number }
  | { do: 'script'; file: string; program: string }
  | { do: 'fetch'; url: string }
  | { do: 'web-search'; query: string }
  | { do: 'summarise'; files: readonly string[] }
  | { do: 'write'; file: string; content: string }
  | { do: 'delete'; files: readonly string[] }
  | { do: 'move'; from: string; to: string }
  | { do: 'edit'; file: string; from: string; to: string }
  /** Write what was found into a file; `unnamed`: the member gave no name. */
  | { do: 'save'; file: string; unnamed?: true }
  /** A file pointed at without saying what to do with it; what follows may mean it. */
  | { do: 'look'; files: readonly string[] }
  /** Call a tool by its name: "use tool mcp__notes__add with text=hello". */
  | { do: 'tool'; tool: string; input: Readonly<Record<string, unknown>> }
  | { do: 'help' }
  | { do: 'cannot'; what: string }
  | { do: 'unknown'; what: string }

/** `previous`: what the member asked in earlier prompts, for "and by product?" and "it". */
export function readIntents(prompt: string, previous: readonly Intent[]): Intent[] {
  const { clauses, asides } = splitPrompt(prompt)
  const intents: Intent[] = []
  for (const clause of clauses) {
    const before = [...previous, ...intents]
    const fresh = recognise(clause, asides, before) ?? [{ do: 'unknown', what: restore(clause, asides) } as const]
    for (const intent of fresh) joinQuestions(intents, aboutSameFiles(intent, intents))
  }
  return intents
}

/** "Read sales.csv and total …" means that file, where the question names none. */
function aboutSameFiles(next: Intent, before: readonly Intent[]): Intent {
  const last = before.at(-1)
  if (next.do !== 'tabulate' || next.question.files.length > 0 || (last?.do !== 'read' && last?.do !== 'look')) return next
  const files = last.files.filter((file) => /\.(?:csv|tsv|txt|tab|dat)$/i.test(file))
  return { do: 'tabulate', question: { ...next.question, files } }
}

/** "total the sales and count the orders by region" asks one question: the first half has no grouping of its own. */
function joinQuestions(intents: Intent[], next: Intent): void {
  const last = intents.at(-1)
  // "Make a report of … and store it in x.md" writes one file.
  if (last?.do === 'save' && last.unnamed && next.do === 'save') intents.pop()
  if (last?.do === 'tabulate' && next.do === 'tabulate' && last.question.groups.length === 0 && next.question.groups.length > 0) {
    intents[intents.length - 1] = {
      do: 'tabulate',
      question: { ...next.question, measures: [...last.question.measures, ...next.question.measures] },
    }
  } else intents.push(next)
}
