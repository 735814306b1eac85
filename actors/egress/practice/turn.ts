/** One prompt carried out: its requests one after the other, their results told, and written where the member wants them. */
import { edit, list, read, search, summarise, write } from './file-skills.ts'
import { type Intent, readIntents } from './intents.ts'
import { relocate, remove } from './rearranging.ts'
import { reportDocument } from './report.ts'
import { type Batch, callOne, devicePath, failed, outputIn, reasonOf, type Section, shortPath, type Skill, workspacePath } from './skill.ts'
import { tabulate } from './tabulate.ts'
import type { Result, World } from './transcript.ts'

/** What a finished turn leaves behind for those after it. */
export type Done = { text: string; intents: readonly Intent[]; sections: readonly Section[] }

const identity = 'This is the practice model: a small built-in program that answers because no model API key is set. It is not an AI model.'
const abilities = `I carry out plain requests with the tools of this conversation, for example:
- list the files; read notes.txt; summarise the files
- search for "invoice" in *.txt
- total the sales by region and write report.md (also average, count, highest, lowest; any CSV with a header)
- run \`ls -la\`
- fetch https://example.com/; search the web for quinces
- use tool NAME with text hello (any tool of this conversation)
- write "hello" to notes.txt; replace "old" with "new" in notes.txt
- delete old.txt; rename a.txt to b.txt`

export function* carryOut(prompt: string, world: World, earlier: Done | null): Generator<Batch, Done, readonly Result[]> {
  const intents = readIntents(prompt, earlier?.intents ?? [])
  const sections: Section[] = []
  const told: string[] = []
  for (const intent of intents) {
    // Pointing at a file asks for something only when nothing else does.
    const section =
      intent.do === 'look' && intents.length > 1
        ? null
        : yield* act(intent, world, sections.length > 0 ? sections : (earlier?.sections ?? []))
    if (!section) continue
    // What was written or could not be done is told, but is not itself a result to write down.
    if (intent.do !== 'save' && intent.do !== 'write' && intent.do !== 'delete' && intent.do !== 'move' && intent.do !== 'help')
      sections.push(section)
    told.push(section.told ?? section.body)
  }
  if (intents.every(({ do: what }) => what === 'unknown' || what === 'cannot')) told.push(abilities)
  const asked = intents.every(({ do: what }) => what === 'save') ? (earlier?.intents ?? []) : []
  return {
    text: [...told, identity].join('\n\n'),
    intents: [...asked, ...intents],
    sections: sections.length > 0 ? sections : (earlier?.sections ?? []),
  }
}

function* act(intent: Intent, world: World, sections: readonly Section[]): Skill {
  switch (intent.do) {
    case 'list':
      return yield* list(intent, world)
    case 'read':
      return yield* read(intent, world)
    case 'search':
      return yield* search(intent, world)
    case 'look':
    case 'summarise':
      return yield* summarise(intent, world)
    case 'tabulate':
      return yield* tabulate(intent.question, world)
    case 'run':
      return yield* run(intent, world)
    case 'script':
      return yield* script(intent, world)
    case 'web-search':
      return yield* searchWeb(intent)
    case 'fetch':
      return yield* fetchUrl(intent)
    case 'write':
      return yield* write(intent, world)
    case 'edit':
      return yield* edit(intent, world)
    case 'delete':
      return yield* remove(intent, world)
    case 'move':
      return yield* relocate(intent, world)
    case 'tool':
      return yield* useTool(intent, world)
    case 'save':
      return yield* save(intent, world, sections)
    case 'help':
      return { ok: true, title: 'Help', body: abilities }
    case 'cannot':
      return failed('Not done', `I cannot ${intent.what}.`)
    default:
      return failed('Not understood', `I did not understand "${intent.what.slice(0, 200)}".`)
  }
}

function* run({ command, timeoutMs }: { command: string; timeoutMs?: number }, _world: World): Skill {
  const [line = ''] = command.split('\n')
  const shown = line.length > 60 ? `${line.slice(0, 59)}…` : line
  const input = { command, description: `Run ${shown}`, ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }) }
  const result = yield* callOne(`Running ${shown} in the workspace.`, 'Bash', input)
  const title = `Output of ${shown}`
  const ending = /\[([^\n]*), cwd [^\n]*\]\s*$/.exec(result.text)?.[1]
  if (!result.ok && !ending) return failed(title, `\`${shown}\` was not run, or not to its end: ${reasonOf(result)}`)
  const output = outputIn(result).trimEnd()
  const block = output === '' ? 'It printed nothing.' : ['```', output, '```'].join('\n')
  return {
    ok: result.ok,
    title,
    body: result.ok ? block : `${block}\n\nIt failed: ${ending}.`,
    told: `\`${shown}\`: ${ending ?? 'done'}.\n\n${output.length > 4_000 ? `${block.slice(0, 4_000)}\n…\n\`\`\`` : block}`,
  }
}

function* script({ file, program }: { file: string; program: string }, world: World): Skill {
  const path = devicePath(file, world.folders[0], world)
  const inside = workspacePath(path, world)
  if (inside === null) return failed(file, `${file} is in no connected folder, so the workspace does not see it.`)
  return yield* run({ command: `${program} '${inside.replaceAll("'", "'\\''")}'` }, world)
}

/** Any tool that is offered, also by the last part of its name alone when that is enough to tell which is meant. */
function* useTool({ tool, input }: { tool: string; input: Readonly<Record<string, unknown>> }, world: World): Skill {
  const known = world.tools.has(tool) ? [tool] : [...world.tools].filter((name) => name.endsWith(`__${tool}`))
  const [name, ...others] = known
  if (name === undefined) return failed(tool, `There is no tool ${tool} in this conversation.`)
  if (others.length > 0) return failed(tool, `${tool} could be any of: ${known.join(', ')}.`)
  const result = yield* callOne(`Calling ${name}.`, name, { ...input })
  if (!result.ok) return failed(name, `${name} did not do it: ${reasonOf(result)}`)
  return { ok: true, title: `Answer of ${name}`, body: result.text, told: `${name} answered:\n\n${result.text.slice(0, 4_000)}` }
}

function* fetchUrl({ url }: { url: string }): Skill {
  const result = yield* callOne(`Fetching ${url}.`, 'WebFetch', { url, prompt: 'Show the text of the page.' })
  const title = `Page ${url}`
  const [head = '', ...rest] = result.text.split('\n--- untrusted content ---\n')
  if (!result.ok && rest.length === 0) return failed(title, `${url} was not fetched: ${reasonOf(result)}`)
  const text = rest.length > 0 ? rest.join('\n') : head
  const [answered] = rest.length > 0 ? head.split('\n') : [url]
  const cut = text.length > 3_000 ? `${text.slice(0, 3_000)}\n… (${text.length - 3_000} more characters)` : text
  return { ok: result.ok, title, body: text, told: `${answered}\n\n${cut}` }
}

function* searchWeb({ query }: { query: string }): Skill {
  const result = yield* callOne(`Searching the web for ${query}.`, 'WebSearch', { query })
  const title = `Search for ${query}`
  if (!result.ok) return failed(title, `The web was not searched: ${reasonOf(result)}`)
  const [head = '', ...rest] = result.text.split('\n--- untrusted content ---\n')
  return { ok: true, title, body: rest.join('\n'), told: `${head}\n\n${rest.join('\n').slice(0, 3_000)}` }
}

function* save({ file }: { file: string }, world: World, sections: readonly Section[]): Skill {
  const usable = sections.filter(({ ok }) => ok)
  if (usable.length === 0) return failed(file, `${shortPath(file, world)} was not written, because there is nothing to put in it.`)
  const beside = usable.flatMap(({ files = [] }) => files)[0]
  return yield* write({ file, content: reportDocument(usable) }, world, beside)
}
