/** `bulkhead egress …`: what may be reached, what was, and changing it. */
import type { EgressDecision, EgressRules, HostExplanation } from '../actors/egress/protocol.ts'
import { isFault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import type { EgressCommand } from './egress-args.ts'
import { exitCodes } from './exit-codes.ts'
import { oneLine, printable } from './printable.ts'

/** @returns the exit code */
export async function egress(daemon: Daemon, command: EgressCommand, out: (text: string) => void): Promise<number> {
  const { session } = command
  const tell = (value: unknown, text: string): void => out(command.json ? `${JSON.stringify(value)}\n` : printable(text))
  const change = (rule: object): Promise<unknown> => daemon.call('egress/change-rule', { rule, session })
  const where = session === null ? 'in every session' : `in session ${session}`
  switch (command.action) {
    case 'show': {
      const rules = await daemon.call<EgressRules>('egress/rules')
      tell(rules, rulesText(rules, session))
      break
    }
    case 'mode':
      await change({ change: 'mode', mode: command.mode })
      tell({ mode: command.mode, session }, `Mode ${command.mode ?? 'of the device'} ${where}, from now on.\n`)
      break
    case 'allow':
      if (session === null) await change({ change: 'allow', pattern: command.pattern })
      else {
        // A denial of the same pattern would beat it.
        await change({ change: 'forget', pattern: command.pattern })
        await daemon.call('egress/allow-host', { session, host: command.pattern })
      }
      tell({ allowed: command.pattern, session }, `${command.pattern} is allowed ${where}, from now on.\n`)
      break
    case 'deny':
      await change({ change: 'deny', pattern: command.pattern })
      tell({ denied: command.pattern, session }, `${command.pattern} is denied ${where}, from now on; what was open to it is cut.\n`)
      break
    case 'request':
      await change({ change: 'request', rule: command.rule })
      tell(
        { request: command.rule },
        `Of ${command.rule.host} only what is listed may be asked, from now on; what was open and is not read is cut.\n`,
      )
      break
    case 'forget':
      await change({ change: 'forget', pattern: command.pattern })
      if (session !== null) await daemon.call('egress/drop-host', { session, host: command.pattern }).catch(unlessNotThere)
      tell({ forgotten: command.pattern, session }, `${command.pattern} is on no list any more ${where}.\n`)
      break
    case 'log': {
      const { decisions } = await daemon.call<{ decisions: EgressDecision[] }>('egress/log', { count: command.count, session })
      tell(
        { decisions },
        decisions.length === 0 ? 'Nothing went out or was refused since the daemon started.\n' : decisions.map(decisionText).join(''),
      )
      break
    }
    case 'explain': {
      const explanation = await daemon.call<HostExplanation>('egress/explain', { url: command.url, session })
      const words = { allow: 'allowed', ask: 'asked about', deny: 'denied' }
      tell(explanation, `${words[explanation.verdict]}: ${explanation.reason}\n  rule: ${explanation.rule}\n`)
      break
    }
    default:
      command satisfies never
  }
  return exitCodes.done
}

/** It may have been on the list of denied hosts only. */
function unlessNotThere(error: unknown): void {
  if (!isFault(error) || error.code !== 'not-found') throw error
}

const modeTexts = {
  none: 'nothing may be reached',
  packages: "this machine's package registries and nothing else",
  list: 'what is listed; other hosts are asked about',
  all: 'every public host that is not denied',
}

function rulesText({ member, sessions, managed, registries, warnings, problem }: EgressRules, only: string | null): string {
  const list = (name: string, entries: readonly string[]): string[] =>
    entries.length === 0 ? [] : [`${name}:`, ...entries.map((entry) => `  ${oneLine(entry)}`)]
  const own = Object.entries(sessions).filter(([session]) => only === null || session === only)
  return [
    ...(problem ? [oneLine(problem, 400)] : []),
    `Mode: ${member.mode} (${modeTexts[member.mode]})`,
    ...(managed.failedClosed ? ['Managed policy cannot be used: the rules below widen nothing.'] : []),
    ...proxyText(managed.proxy),
    ...(managed.hosts === null
      ? []
      : list(`Policy allows no more than (${managed.decidedBy})`, managed.hosts.length === 0 ? ['nothing'] : managed.hosts)),
    ...list('Allowed', member.allow),
    ...list('Denied', member.deny),
    ...list(
      'Only these requests to their hosts',
      (member.requests ?? []).map(({ host, methods, path }) => `${methods.length === 0 ? 'any method' : methods.join(',')} ${host}${path}`),
    ),
    ...own.flatMap(([session, { mode, deny }]) => [
      `Session ${session}:${mode === null ? '' : ` mode ${mode}`}`,
      ...deny.map((entry) => `  denied ${oneLine(entry)}`),
    ]),
    ...list(
      'Registries',
      registries.map(({ manager, pattern, source }) => `${manager} ${pattern} (${source})`),
    ),
    ...list('Ignored', warnings),
    '',
  ].join('\n')
}

function decisionText({ at, session, via, host, port, verdict, rule }: EgressDecision): string {
  return `${new Date(at).toISOString()}  ${verdict === 'allow' ? 'allowed' : 'denied '}  ${oneLine(host)}:${port}  ${via}  ${session ?? '-'}  ${oneLine(rule, 120)}\n`
}

function proxyText(proxy: EgressRules['managed']['proxy']): string[] {
  const named = proxy?.pac ?? proxy?.url ?? null
  return named === null ? [] : [`Goes out by ${named} (${proxy?.decidedBy}).`]
}
