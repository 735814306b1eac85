/** The command line, parsed. Anything not understood is a `UsageError`: exit 2 with a word on what would be right. */
import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { type ActorCommand, parseActor } from './actor-args.ts'
import { type HistoryCommand, parseHistory } from './history-args.ts'
import { type EgressCommand, parseEgress } from './egress-args.ts'
import { type AuditCommand, parseAudit } from './audit-args.ts'
import { type CheckCommand, parseCheck, parseExplore } from './check-args.ts'
import { type McpCommand, parseMcp } from './mcp-args.ts'
import { parseSecret, type SecretCommand } from './secret-args.ts'

export class UsageError extends Error {}

export type Folder = { path: string; mode: 'ro' | 'rw' }
export const approveModes = ['ask', 'edits', 'all', 'none'] as const
export type Approve = (typeof approveModes)[number]
export type SessionOptions = { folders: Folder[]; approve: Approve; hosts: string[]; session?: string; model?: string }
const vmActions = ['status', 'start', 'stop', 'restart'] as const
const policyActions = ['show', 'check', 'explain'] as const
const telemetryActions = ['status', 'test'] as const
const daemonActions = ['start', 'stop', 'status'] as const

export type Command =
  | { verb: 'help' | 'version' }
  | ({ verb: 'terminal' } & SessionOptions)
  | ({ verb: 'run'; prompt: string; json: boolean } & SessionOptions)
  | { verb: 'vm'; action: (typeof vmActions)[number]; json: boolean }
  | { verb: 'daemon'; action: (typeof daemonActions)[number]; json: boolean }
  | { verb: 'policy'; action: (typeof policyActions)[number]; about: string; json: boolean }
  | HistoryCommand
  | { verb: 'telemetry'; action: (typeof telemetryActions)[number]; json: boolean }
  | AuditCommand
  | { verb: 'inspect' | 'doctor'; json: boolean }
  | ({ verb: 'check' } & CheckCommand)
  | { verb: 'explore'; name: string; port: number }
  | { verb: 'replay'; session: string; json: boolean }
  | McpCommand
  | ActorCommand
  | EgressCommand
  | SecretCommand
  | { verb: 'shell'; session: string | null; command: string | null }
  | { verb: 'web'; open: boolean }
  | { verb: 'acp' }

export const usage = `Usage: bulkhead [COMMAND]

  (none)      Talk with Bulkhead in the terminal. Takes the options of run.
  run PROMPT  Do one thing and end.
      --folder PATH[:ro]     connect a folder, for reading and writing or read-only; may be repeated
      --approve MODE         ask (default), edits: writes need no question, all, none: refuse whatever would ask
      --allow-host PATTERN   allow a host for web fetches (example.com, *.example.com); may be repeated
      --session ID           go on with a session, or name a new one
      --model NAME           model to use
      --json                 one JSON event per line on stdout
  changes [--folder PATH] [--session ID] [--turn TURN] [--json]
              What was changed in the folders, by tools and by programs in the workspace.
  undo CHANGE|CALL|TURN | undo --to CHANGE|TIME [--folder PATH]
      --preview              say what it would do, with the differences
      --force                also what was changed since by someone else, which is kept otherwise
  redo [--folder PATH] [--preview]
              Takes the last undo back.
  web [--no-open]
              Open the page in the browser, and print its address. The address is a key: whoever has it can do what you can.
  acp         Speak the Agent Client Protocol on stdin and stdout, for editors; uses the running daemon.
  vm status|start|stop|restart [--json]
              The workspace, a Linux VM in which commands run.
  shell [SESSION] [-- COMMAND]
              A terminal in the workspace, as that session's user; without SESSION the newest one that is open, or a new one.
              Ends with the shell's exit code.
  mcp list [--json]
              Tool servers, their tools, and what is decided about each.
  mcp add NAME [--env KEY=VALUE] [--folder PATH[:ro]] [--network] -- COMMAND [ARGUMENT]…
              A tool server: started in a jail that reaches the folders named, and the network only if allowed.
  mcp remove|restart|approve NAME
              approve accepts what a server's tools are now, after they changed.
  mcp allow|ask|block TOOL
              Whether calls of a tool need a question.
  extension install FILE [--config KEY=VALUE] [--network]
  extension list|remove NAME
              Desktop extensions (.mcpb, .dxt).
  actor list | grants NAME [--json]
              Actors from outside: what each asks for, who allowed it, and whether it runs.
  actor add FOLDER [--yes] | allow NAME [--yes] | remove NAME
              Look at what an actor asks for, and let it run; again after it changed. --yes: you have looked already.
  egress show | log [--count N] | explain URL [--session ID] [--json]
              What may be reached and why; what was, and what was refused.
  egress mode none|packages|list|all [--session ID]
              nothing; the package registries of this machine; what is listed (other hosts are asked about); everything public.
  egress allow|deny|forget PATTERN [--session ID]
              A host (example.com, *.example.com, example.com:8443), at once and for what is open; denied beats allowed.
  egress request HOST --path PATH [--method GET,POST]
              From now on only such requests go to the host (* up to the next /, ** anything); forget takes them back.
  secret set NAME --host HOST [--header NAME [--prefix TEXT] | --basic USER | --query NAME]
              A token for one host, read from standard input or asked for: it goes into requests there, and nobody in a session sees it.
  secret list | remove NAME [--json]
  inspect [--json]
              Who runs, what each holds and why.
  policy show | check FILE | explain KEY [--json]
              What the organization and your settings allow, and who decided.
  telemetry status | test [--json]
              Where telemetry goes and how that is going; send a self test.
  audit verify [--expect N:HASH] [--key FINGERPRINT] | export | query [--json]
              The log of decisions and effects: whether it is whole; its entries as JSON lines; its entries in words.
      --session ID, --action NAME, --since TIME, --until TIME    which entries (export, query)
      --dir PATH                                                 another audit folder
  doctor [--json]
              What this machine has of what Bulkhead needs.
  daemon start|stop|status [--json]
  check [NAME] [--full] [--json]
              Explore the state machines that run, and say whether their properties hold. NAME: an actor or a system.
      --trace text|mermaid|itf|test    how a counterexample is shown
      --export promela|tla             print the model for Spin or TLC
      --reduce order,symmetry          leave out what differs in order or in names alone
      --depth-first, --max-states N, --max-memory MIB
      --workers N                      threads: for one model they share its states, for all each checks a model at a time
      --bitstate MIB                   for what is too large: bits in place of states, with the chance of an omission
      --walks N [--steps N] [--seed N] random walks, with the chance that the next step sees something new
      --mutate                         break the machine on purpose, and list what no property notices
      --conform SESSION                whether what a session's actors did is a path of their models
  explore NAME [--port N]
              Walk a model's states on a page: what can happen, what it changes, the way to a counterexample.
  replay SESSION [--json]
              Take a session's steps again on the machines that run today, and report the first difference.
  setup       Install what is missing and build the workspace image.

  --help, --version

Exit codes: 0 done, 2 usage, 3 refused or failed, 4 model unreachable, 130 interrupted.
Environment: ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, BULKHEAD_HOME, BULKHEAD_VM=off, NO_COLOR,
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, BULKHEAD_PROXY_PAC, NODE_EXTRA_CA_CERTS, BULKHEAD_KEYRING=off.
`

const sessionOptions = {
  folder: { type: 'string', multiple: true },
  approve: { type: 'string' },
  'allow-host': { type: 'string', multiple: true },
  session: { type: 'string' },
  model: { type: 'string' },
} as const satisfies ParseArgsConfig['options']
const json = { json: { type: 'boolean' } } as const

/** @param args without `node` and script */
export function parseCommand(args: readonly string[]): Command {
  const [verb, ...rest] = args
  if (verb === 'help' || verb === '--help' || verb === '-h' || rest.includes('--help')) return { verb: 'help' }
  if (verb === 'version' || verb === '--version') return { verb: 'version' }
  if (verb === undefined || verb.startsWith('-')) {
    const { values, positionals } = parseWords(args, sessionOptions)
    if (positionals.length > 0) throw new UsageError(`To do one thing and end: bulkhead run ${JSON.stringify(positionals.join(' '))}`)
    return { verb: 'terminal', ...session(values) }
  }
  switch (verb) {
    case 'run': {
      const { values, positionals } = parseWords(rest, { ...sessionOptions, ...json })
      const prompt = positionals.join(' ').trim()
      if (prompt === '') throw new UsageError('run needs a prompt: bulkhead run --folder PATH "What to do"')
      return { verb, prompt, json: values.json === true, ...session(values) }
    }
    case 'audit':
      return parseAudit(rest)
    case 'web': {
      const { values, positionals } = parseWords(rest, { 'no-open': { type: 'boolean' } })
      if (positionals.length > 0) throw new UsageError('web takes no argument but --no-open.')
      return { verb, open: values['no-open'] !== true }
    }
    case 'acp':
      if (rest.length > 0) throw new UsageError('acp takes no argument.')
      return { verb }
    case 'vm':
    case 'telemetry':
    case 'daemon': {
      const { values, positionals } = parseWords(rest, json)
      const [action, ...more] = positionals
      const known: readonly string[] = { vm: vmActions, telemetry: telemetryActions, daemon: daemonActions }[verb]
      if (action === undefined || more.length > 0 || !known.includes(action))
        throw new UsageError(`${verb} takes one of: ${known.join(', ')}.`)
      return { verb, action, json: values.json === true } as Command
    }
    case 'policy': {
      const { values, positionals } = parseWords(rest, json)
      const [action, about = '', ...more] = positionals
      const known = policyActions.find((name) => name === action)
      if (!known) throw new UsageError(`policy takes one of: ${policyActions.join(', ')}.`)
      if (more.length > 0 || (known === 'show') !== (about === ''))
        throw new UsageError('It is one of: policy show, policy check FILE, policy explain KEY.')
      return { verb, action: known, about, json: values.json === true }
    }
    case 'changes':
    case 'undo':
    case 'redo':
      return parseHistory(verb, rest)
    case 'mcp':
    case 'extension':
      return parseMcp(verb, rest)
    case 'actor':
      return parseActor(rest)
    case 'egress':
      return parseEgress(rest)
    case 'secret':
      return parseSecret(rest)
    case 'inspect':
    case 'doctor': {
      const { values, positionals } = parseWords(rest, json)
      if (positionals.length > 0) throw new UsageError(`${verb} takes no argument but --json.`)
      return { verb, json: values.json === true }
    }
    case 'check':
      return parseCheck(rest)
    case 'explore':
      return parseExplore(rest)
    case 'shell': {
      const end = rest.indexOf('--')
      const [before, after] = end === -1 ? [rest, []] : [rest.slice(0, end), rest.slice(end + 1)]
      const { positionals } = parseWords(before, {})
      const [wanted = null, ...more] = positionals
      if (more.length > 0 || (end !== -1 && after.length === 0))
        throw new UsageError('shell takes one session, and a command after --: bulkhead shell SESSION -- top')
      return { verb, session: wanted, command: after.length === 0 ? null : after.join(' ') }
    }
    case 'replay': {
      const { values, positionals } = parseWords(rest, json)
      const [wanted, ...more] = positionals
      if (wanted === undefined || more.length > 0) throw new UsageError('replay takes one session: bulkhead replay SESSION')
      return { verb, session: wanted, json: values.json === true }
    }
    default:
      throw new UsageError(`There is no command "${verb}".${whereItIs(verb)}`)
  }
}

/** Commands that have a word of that name: who types `stop` means `daemon stop` or `vm stop`. */
function whereItIs(word: string): string {
  const commands = usage.split('\n').flatMap((line) => {
    // Two spaces, the command, its words up to the description.
    const [, verb, words = ''] = /^ {2}([a-z]+) ((?:\S+ ?)+)/.exec(line) ?? []
    return verb !== undefined && words.split(/[ |]+/).includes(word) ? [`bulkhead ${verb} ${word}`] : []
  })
  return commands.length === 0 ? '' : ` There is: ${commands.join(', ')}.`
}

/** Options and words; throws a `UsageError` on what is neither. */
export function parseWords<O extends NonNullable<ParseArgsConfig['options']>>(args: readonly string[], options: O) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError(error instanceof Error ? (error.message.split('. To specify')[0] ?? error.message) : String(error))
  }
}

function session(values: {
  folder?: string[]
  approve?: string
  'allow-host'?: string[]
  session?: string
  model?: string
}): SessionOptions {
  const approve = values.approve ?? 'ask'
  if (!isApprove(approve)) throw new UsageError(`--approve is one of: ${approveModes.join(', ')}.`)
  const hosts = values['allow-host'] ?? []
  if (hosts.some((host) => host.trim() === '' || host.includes('/')))
    throw new UsageError('--allow-host takes a host, not a URL: example.com, *.example.com, example.com:8443.')
  if (values.session !== undefined && !/^[a-z0-9][a-z0-9-]{0,39}$/.test(values.session))
    throw new UsageError('--session takes lower-case letters, digits and hyphens, at most 40.')
  if (values.model?.trim() === '') throw new UsageError('--model needs a name.')
  return {
    folders: (values.folder ?? []).map(parseFolder),
    approve,
    hosts,
    ...(values.session === undefined ? {} : { session: values.session }),
    ...(values.model === undefined ? {} : { model: values.model }),
  }
}

export function isApprove(value: string): value is Approve {
  return (approveModes as readonly string[]).includes(value)
}

/** `PATH`, `PATH:ro`, `PATH:rw`: a folder that exists, by its real path. */
export function parseFolder(text: string): Folder {
  const [, given = text, suffix] = /^(.*?)(?::(ro|rw))?$/s.exec(text) ?? []
  const path = resolve(given)
  const mode = suffix === 'ro' ? 'ro' : 'rw'
  if (given === '') throw new UsageError('--folder needs a path.')
  let real: string
  try {
    real = realpathSync(path)
  } catch {
    throw new UsageError(`There is no folder ${path}.`)
  }
  if (!statSync(real).isDirectory()) throw new UsageError(`${path} is not a folder.`)
  return { path: real, mode }
}
