/** `bulkhead actor …`: actors from outside, what they ask for, and the member's word on it. */
import { randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { AddonView, Proposal } from '../daemon/addons/protocol.ts'
import { fault, type Limits } from '../kernel/index.ts'
import type { ActorCommand } from './actor-args.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { oneLine, printable } from './printable.ts'

type Io = { home: string; out(text: string): void; input: NodeJS.ReadStream; err: NodeJS.WriteStream }
type Shown = Proposal['is']

/** @returns the exit code */
export async function actor(daemon: Daemon, command: ActorCommand, io: Io): Promise<number> {
  const tell = (value: unknown, text: string): void => io.out(command.json ? `${JSON.stringify(value)}\n` : printable(text))
  switch (command.action) {
    case 'list': {
      const { actors } = await daemon.call<{ actors: AddonView[] }>('actors/list')
      tell({ actors }, actors.length === 0 ? 'No actors from outside.\n' : actors.map(viewText).join('\n'))
      return exitCodes.done
    }
    case 'grants': {
      const { actors } = await daemon.call<{ actors: AddonView[] }>('actors/list')
      const found = actors.find(({ name }) => name === command.name)
      if (!found) throw fault('not-found', `There is no actor ${command.name} from outside.`, { remedy: 'See `bulkhead actor list`.' })
      tell(found, viewText(found))
      return exitCodes.done
    }
    case 'remove':
      await daemon.call('actors/remove', { name: command.name })
      tell({ removed: command.name }, `${command.name} is removed, with what it kept.\n`)
      return exitCodes.done
    case 'allow':
      return decide(daemon, { name: command.name }, command, io, tell)
    case 'add': {
      const path = handOver(command.folder, io.home)
      try {
        return await decide(daemon, { path }, command, io, tell)
      } finally {
        rmSync(path, { recursive: true, force: true })
      }
    }
    default:
      return command satisfies never
  }
}

/** Shows what it asks for, asks, and says so to the daemon with the hash of exactly what was shown. */
async function decide(
  daemon: Daemon,
  from: { path: string } | { name: string },
  { yes }: { yes: boolean },
  { input, err }: Io,
  tell: (value: unknown, text: string) => void,
): Promise<number> {
  const proposal = await daemon.call<Proposal>('actors/examine', { from })
  const { name, hash } = proposal
  err.write(printable(proposalText(proposal)))
  if (!yes) {
    if (!input.isTTY)
      throw fault('no-one-to-ask', `Nobody is there to allow ${name}.`, {
        remedy: 'Repeat it in a terminal, or with --yes once you have read the above.',
      })
    const lines = createInterface({ input, output: err })
    const answer = await lines.question('Allow this? [y/N] ')
    lines.close()
    if (!/^y(es)?$/i.test(answer.trim())) {
      tell({ denied: name }, `${name} is not allowed.\n`)
      return exitCodes.failed
    }
  }
  await daemon.call('actors/add', { from, hash })
  tell({ added: name, hash }, `${name} runs.\n`)
  return exitCodes.done
}

/** The daemon reads code from one folder only; the member, who may read this one, puts it there. Packages and repositories stay behind. */
function handOver(folder: string, home: string): string {
  const incoming = join(home, 'incoming')
  const path = join(incoming, randomBytes(8).toString('hex'))
  try {
    if (!statSync(folder).isDirectory()) throw new Error('it is not a folder')
    mkdirSync(incoming, { recursive: true, mode: 0o700 })
    cpSync(folder, path, { recursive: true, filter: (source) => source === folder || !/^(node_modules|\.git)$/.test(basename(source)) })
    return path
  } catch (error) {
    rmSync(path, { recursive: true, force: true })
    throw fault('io-failed', `${folder} cannot be read.`, { cause: error instanceof Error ? error.message : String(error) })
  }
}

function proposalText({ name, hash, is, before }: Proposal): string {
  const known = before === null ? [] : askedFor(before)
  const lines = askedFor(is).map((line) => `${before !== null && !known.includes(line) ? '+' : ' '} ${line}`)
  const gone = known.filter((line) => !askedFor(is).includes(line)).map((line) => `- ${line}`)
  const head = before === null ? `${name} is an actor from outside Bulkhead.` : `${name} changed since it was allowed.`
  return `${head}\n  ${oneLine(is.purpose, 300)}\n${[...lines, ...gone].join('\n')}\n  Code and manifest: ${hash}\n`
}

/** One line for each thing it would be able to do. */
function askedFor({ grants, permissions, permissionReasons, tools }: Shown): string[] {
  const files = (name: 'fsRead' | 'fsWrite', word: string): string[] =>
    permissions[name].map(
      (path) => `${word} ${oneLine(path.replace('/bulkhead/own-folder', 'its own folder'), 300)}: ${reason(permissionReasons[name])}`,
    )
  return [
    ...grants.map(({ target, limits, reason: why }) => `may send ${target}: ${limitText(limits as Limits)}: ${reason(why)}`),
    ...files('fsRead', 'may read'),
    ...files('fsWrite', 'may write'),
    ...tools.map(
      ({ kind, title, description, readOnly }) =>
        `offers the tool ${kind} (${oneLine(title)}${readOnly ? ', only reads' : ''}): ${oneLine(description, 300)}`,
    ),
    ...(grants.length + permissions.fsRead.length + permissions.fsWrite.length === 0 ? ['may do nothing but answer'] : []),
  ]
}

const reason = (text: string | undefined): string => oneLine(text ?? '', 300)

function limitText({ kinds = [], hosts, ...more }: Limits): string {
  const rest = Object.entries(more).map(([name, value]) => `${name} ${JSON.stringify(value)}`)
  return oneLine([kinds.join(', '), ...(hosts ? [`hosts ${hosts.join(' ')}`] : []), ...rest].join('; '), 500)
}

function viewText({ name, state, why, hash, allowed, is }: AddonView): string {
  const rows = [
    ...(why === null
      ? []
      : [`Why: ${oneLine(why, 1_000)}${state === 'changed' || state === 'new' ? `; bulkhead actor allow ${name}` : ''}`]),
    ...(is === null ? [] : [oneLine(is.purpose, 300), ...askedFor(is)]),
    ...(allowed === null ? [] : [`allowed by ${oneLine(allowed.by)} on ${allowed.at}`]),
    ...(hash === null ? [] : [`code and manifest: ${hash}`]),
  ]
  return `${oneLine(name)}  ${state}\n${rows.map((row) => `  ${row}\n`).join('')}`
}
