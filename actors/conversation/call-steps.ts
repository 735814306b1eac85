/**
 * The way of each tool call, as pure functions like `steps.ts`:
 *
 *   read     waiting -> running -> done
 *   change   waiting -> [previewing] -> asking -> running -> done
 *                   \-> running on an approval given for the session; when that is over -> asking, once
 */
import { asFault, fault } from '../../kernel/index.ts'
import type { Fault, Outgoing, ReplyOf } from '../../kernel/index.ts'
import type { protocol as consentProtocol } from '../consent/protocol.ts'
import type { protocol as fsGate } from '../fs-gate/protocol.ts'
import { type Context, workspaceOf } from './context.ts'
import { inTheWay, withSource } from './data-flow.ts'
import { startedJobs } from './job-news.ts'
import { shortPath } from './paths.ts'
import { callRef, event, type Step, type ToolRun, withTurn } from './steps.ts'
import { presentAnswers, presentFault } from './tools/catalog.ts'
import { isServerTool } from './tools/server-tool.ts'
import type { Answer, Call, Plan } from './tools/tool.ts'
import { approvalKey, type CallResult, replaceCall, resultEvent, startable, type ToolCall, targetKey } from './turn.ts'

type ChangePlan = Extract<Plan, { access: 'change' }>

/** Shows all calls of the answer, then starts those that may start. */
export function beginCalls(context: Context): Step {
  const { turn } = context
  if (!turn) return still(context)
  const shown = turn.calls.flatMap((call): Outgoing[] => {
    const { id, name, input, title, phase } = call
    const begun = event(turn.request, { type: 'tool_call', id, name, input, title })
    return phase === 'done' ? [begun, event(turn.request, resultEvent(call))] : [begun]
  })
  return startWaiting({ context, out: shown, runs: [] })
}

/** Outcome `done` of the `runTool` effect. */
export function callRan(context: Context, ref: string, answers: readonly Answer[], durationMs: number): Step {
  const found = callOf(context, ref, 'running')
  if (!found) return still(context)
  const { call, index } = found
  const presented = presentAnswers(call.name, call.input, answers, workspaceOf(context))
  return finish(heard(remember(context, call, answers), call, answers), index, { ...presented, durationMs })
}

/** Outcome `failed` of the `runTool` effect, or a crash of it. */
export function callFailed(context: Context, ref: string, thrown: unknown, output: string, durationMs: number): Step {
  const found = callOf(context, ref, 'running')
  if (!found) return still(context)
  const { call, index } = found
  const error = asFault(thrown)
  // The session's approval does not reach as far as this.
  if (call.reusing && call.plan?.access === 'change' && asksForItself.has(error.code))
    return startChange(context, index, { ...call, reusing: false }, call.plan, false)
  if (call.reusing && call.plan?.access === 'change' && approvalIsOver(error)) {
    const { [approvalKey(call.plan.target)]: _, ...approvals } = context.approvals
    return startChange({ ...context, approvals }, index, { ...call, reusing: false }, call.plan)
  }
  // What a tool server says about a failure is its own text; of a page that was not fetched there is none.
  return finish(isServerTool(call.name) ? heard(context, call, []) : context, index, { ...presentFault(error, output), durationMs })
}

export function previewed(context: Context, ref: string, body: unknown): Step {
  const found = callOf(context, ref, 'previewing')
  if (!found || found.call.plan?.access !== 'change') return still(context)
  const { path, diff, created, ...shown } = body as ReplyOf<typeof fsGate, 'preview'>
  const plan = asShown(landingAt(found.call.plan, path), shown)
  return ask(context, found.index, { ...found.call, plan, title: shownTitle(found.call, plan), diff, creates: created }, plan)
}

/** Consent said yes; the capability for the action travelled with the reply. */
export function allowed(context: Context, ref: string, body: unknown, slot: number | undefined): Step {
  const found = callOf(context, ref, 'asking')
  if (!found || found.call.plan?.access !== 'change') return still(context)
  const { call, index } = found
  const { scope, by } = body as ReplyOf<typeof consentProtocol, 'ask'>
  if (slot === undefined)
    return finish(context, index, { ...presentFault(fault('internal', 'The approval carried no capability.')), durationMs: 0 })
  const { target } = found.call.plan
  const { [targetKey(target)]: _, ...denials } = context.turn?.denials ?? {}
  const known = withTurn(scope === 'session' ? { ...context, approvals: { ...context.approvals, [approvalKey(target)]: slot } } : context, {
    denials,
  })
  return before([permission(known, call, 'allow', scope, by)], run(known, index, call, [changeCall(known, call, found.call.plan, slot)]))
}

/** The question, or the preview before it, was refused. */
export function questionRefused(context: Context, ref: string, error: Fault): Step {
  const found = callOf(context, ref, 'asking') ?? callOf(context, ref, 'previewing')
  if (!found) return still(context)
  const { call, index } = found
  const result = { ...presentFault(error), durationMs: 0 }
  const denied = call.phase === 'asking' && (error.code === 'denied' || error.code === 'no-one-to-ask')
  if (!denied || call.plan?.access !== 'change') return finish(context, index, result)
  const known = withTurn(context, { denials: { ...context.turn?.denials, [targetKey(call.plan.target)]: error } })
  return before([permission(known, call, 'deny', 'once', error.rule ?? 'consent')], finish(known, index, result))
}

export function allCallsDone({ turn }: Context): boolean {
  return turn?.calls.every(({ phase }) => phase === 'done') ?? true
}

/** What no approval for the session covers: it is asked for by itself. */
const asksForItself: ReadonlySet<string> = new Set(['protected-path', 'mass-change'])

function startWaiting(step: Step): Step {
  let current = step
  for (const index of startable(step.context.turn?.calls ?? [])) {
    const call = current.context.turn?.calls[index]
    if (!call?.plan) continue
    const { plan } = call
    const rule = Object.hasOwn(current.context.blocked, call.name) ? current.context.blocked[call.name] : undefined
    if (rule !== undefined) {
      // Policy changed since the call was planned.
      const refused = presentFault(fault('policy-denied', `Policy does not allow ${call.name}.`, { rule }))
      const finished = finish(current.context, index, { ...refused, durationMs: 0 })
      // Finishing it started the others.
      return before(current.out, { ...finished, runs: [...current.runs, ...finished.runs] })
    }
    const started =
      plan.access === 'change'
        ? startChange(current.context, index, call, plan)
        : run(
            current.context,
            index,
            call,
            plan.calls.map((item) => addressed(current.context, item)),
          )
    current = before(current.out, { ...started, runs: [...current.runs, ...started.runs] })
  }
  return current
}

function startChange(context: Context, index: number, call: ToolCall, plan: ChangePlan, reuse = true): Step {
  const covered = reuse && untrustedFor(context, plan).length === 0
  const slot = covered ? context.approvals[approvalKey(plan.target)] : undefined
  if (slot !== undefined) return run(context, index, { ...call, reusing: true }, [changeCall(context, call, plan, slot)])
  if (!plan.preview || call.diff !== '') return ask(context, index, call, plan)
  const { to, kind, body } = addressed(context, plan.preview)
  return {
    context: update(context, index, { ...call, phase: 'previewing' }),
    out: [{ type: 'send', to, kind, body, ref: callRef(context, index, 'previewing') }],
    runs: [],
  }
}

function ask(context: Context, index: number, call: ToolCall, plan: ChangePlan): Step {
  const detail = [call.diff, plan.detail].filter((part) => part !== '').join('\n')
  const untrusted = untrustedFor(context, plan)
  const body = { tool: call.name, title: call.title, detail, target: plan.target, ...(untrusted.length > 0 ? { untrusted } : {}) }
  return {
    context: update(context, index, { ...call, phase: 'asking' }),
    out: [{ type: 'send', to: 'consent', kind: 'ask', body, ref: callRef(context, index, 'asking'), deadlineMs: null }],
    runs: [],
  }
}

/** The change as the gate will carry it out: through a symbolic link it lands elsewhere in the folder, and that is what is to be approved. */
function landingAt(plan: ChangePlan, path: string): ChangePlan {
  if (plan.target.kind !== 'write' || plan.target.path === path) return plan
  return {
    ...plan,
    ...(plan.file ? { file: { ...plan.file, path } } : {}),
    target: { ...plan.target, path },
    message: { ...plan.message, body: { ...plan.message.body, path } },
  }
}

/** What the member is shown is what will be changed: the gate is told, and looks again. A protected path is asked for as such, and so is much at once. */
function asShown(
  plan: ChangePlan,
  { identity, protected: rule, mass }: Partial<Pick<ReplyOf<typeof fsGate, 'preview'>, 'identity' | 'protected' | 'mass'>>,
): ChangePlan {
  const { target, message } = plan
  const more = { ...(rule ? { protected: rule } : {}), ...(mass === undefined ? {} : { mass }) }
  return {
    ...plan,
    ...(target.kind === 'write' ? { target: { ...target, ...more } } : {}),
    ...(identity === undefined ? {} : { message: { ...message, body: { ...message.body, identity } } }),
  }
}

function shownTitle({ title, plan: given }: ToolCall, { file }: ChangePlan): string {
  return file && given?.file && given.file.path !== file.path ? `${title} (a link to ${shortPath(file)})` : title
}

function run(context: Context, index: number, call: ToolCall, calls: ToolRun['calls']): Step {
  const request = context.turn?.request ?? -1
  return {
    context: update(context, index, { ...call, phase: 'running' }),
    out: call.plan?.access === 'change' ? marks(context, call, call.plan) : [],
    runs: [
      {
        ref: callRef(context, index, 'running'),
        request,
        id: call.id,
        asksJobs: startedJobs(context.messages),
        ...(context.reports ? { audit: auditOf(call) } : {}),
        calls,
      },
    ],
  }
}

/** Tells the folders it may change which call that is, so that it can be undone as one. Ahead of the call itself, and nobody waits for it. */
function marks(context: Context, { id, title }: ToolCall, { target }: ChangePlan): Outgoing[] {
  const body = { turn: `${context.session}.${context.turn?.startsAt ?? 0}`, call: id, title: title.slice(0, 300) }
  return context.folders
    .filter(({ name, mode }) => mode === 'rw' && (target.kind !== 'write' || target.folder === name))
    .map(({ name }): Outgoing => ({ type: 'send', to: context.folderSlots[name] ?? `folder:${name}`, kind: 'mark', body }))
}

/** A read shows what it reads in its title; a change names its target. */
function auditOf({ id, name, title, plan }: ToolCall): NonNullable<ToolRun['audit']> {
  const change = plan?.access === 'change'
  return { data: { tool: name, id, title, target: change ? plan.target : null }, first: change }
}

function finish(context: Context, index: number, result: CallResult): Step {
  const next = update(context, index, { phase: 'done', result })
  const call = next.turn?.calls[index]
  return startWaiting({ context: next, out: call && next.turn ? [event(next.turn.request, resultEvent(call))] : [], runs: [] })
}

function addressed(context: Context, { at, kind, body, deadlineMs, pages }: Call): ToolRun['calls'][number] {
  const to = 'folder' in at ? (context.folderSlots[at.folder] ?? `folder:${at.folder}`) : at.slot
  return { to, kind, body, ...(deadlineMs === undefined ? {} : { deadlineMs }), ...(pages === undefined ? {} : { pages }) }
}

/** The action itself. `expect` makes the gate refuse it when the file is no longer what was read, or what the member was shown. */
function changeCall(context: Context, { creates }: ToolCall, { message, file }: ChangePlan, to: number): ToolRun['calls'][number] {
  const known = file && context.seen[shortPath(file)]
  const expect = creates ? { expect: null } : known ? { expect: known } : {}
  const { deadlineMs } = message
  return {
    to,
    kind: message.kind,
    body: file ? { ...message.body, ...expect } : message.body,
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  }
}

function remember(context: Context, { plan }: ToolCall, answers: readonly Answer[]): Context {
  const { sha256 } = (answers[0]?.body ?? {}) as { sha256?: unknown }
  return plan?.file && typeof sha256 === 'string' ? { ...context, seen: { ...context.seen, [shortPath(plan.file)]: sha256 } } : context
}

function heard(context: Context, { name }: ToolCall, answers: readonly Answer[]): Context {
  return withTurn(context, { untrusted: [...withSource(context.turn?.untrusted ?? [], name, answers)] })
}

const untrustedFor = ({ turn }: Context, { target }: ChangePlan): readonly string[] => inTheWay(turn?.untrusted ?? [], target)

function permission(
  { turn }: Context,
  { id, name, title }: ToolCall,
  decision: 'allow' | 'deny',
  scope: 'once' | 'session',
  by: string,
): Outgoing {
  return event(turn?.request ?? -1, { type: 'permission', id, tool: name, title, decision, scope, by })
}

function approvalIsOver({ code }: Fault): boolean {
  return code === 'revoked' || code === 'expired' || code === 'attenuated' || code === 'no-capability'
}

function callOf(context: Context, ref: string, phase: 'previewing' | 'asking' | 'running'): { call: ToolCall; index: number } | null {
  const calls = context.turn?.calls ?? []
  const index = calls.findIndex((call, at) => call.phase === phase && callRef(context, at, phase) === ref)
  const call = calls[index]
  return call ? { call, index } : null
}

function update(context: Context, index: number, change: Partial<ToolCall>): Context {
  return withTurn(context, { calls: replaceCall(context.turn?.calls ?? [], index, change) })
}

function before(out: readonly Outgoing[], step: Step): Step {
  return { ...step, out: [...out, ...step.out] }
}

function still(context: Context): Step {
  return { context, out: [], runs: [] }
}
