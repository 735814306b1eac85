/**
 * Actors' production machines × the kernel's capability tables × mailboxes × faults, as a product.
 *
 * One rule per actor reads the tables, the actor and its mailbox: whatever may happen to it next. A rule per fault reads what the fault
 * touches. What leaves an actor is appended to mailboxes by operations, so that a rule need not read the mailboxes of others.
 */
import { createStepper, type Stepper } from '../kernel/stepper.ts'
import type { AnyStateMachine } from 'xstate'
import { type CapabilityStates, createCapabilityStates, type Wire } from './capability-states.ts'
import { Channels, type Item, Mailbox } from './channels.ts'
import { deliveries, type Delivery } from './delivery.ts'
import { absorb, emptyLocal, keyOf, type Local, movesOf, type Move, take } from './local.ts'
import type { Event } from './model.ts'
import { Outbox } from './outbox.ts'
import {
  type Component,
  type Group,
  Interner,
  type Outcome,
  type Product,
  type Rule,
  type StateProperty,
  type StepInfo,
  type States,
  type TemporalProperty,
} from './product.ts'
import { defaultMailbox, type Part, type SystemModel, type SystemView, taking } from './system.ts'
import { systemSymmetry } from './symmetry.ts'

export type ComposeOptions = { stepper?: (machine: AnyStateMachine) => Stepper }

/** One actor in a composition. `component` numbers its state, `mailbox` what waits for it. */
export type Member = {
  id: string
  part: Part
  stepper: Stepper
  locals: Interner<Local>
  component: number
  mailbox: number
  /** Interchangeable actors share one, as they share local states. */
  box: Mailbox
  process: number
}
export type Composition = {
  members: ReadonlyMap<string, Member>
  channels: Channels
  capabilities: CapabilityStates
  requests: Interner<{ from: string; ref: string }>
  groups: Group[]
  keep(member: Member, local: Local): number
  group(member: Member, source: string, certain: boolean): number
  deadlines: boolean
  /** Who is spawned, by kind; null: the kernel is around the system. */
  instances: Readonly<Record<string, string>> | null
}

/** Components 0 and 1 are shared: the capability tables and the faults that happened. */
const capabilitiesAt = 0
const faultsAt = 1
const firstMember = 2

type FaultState = { crashes: number; revoked: readonly string[] }

export function compose(system: SystemModel, options: ComposeOptions = {}): Product {
  const ids = Object.keys(system.actors)
  const symmetric = system.symmetric ?? []
  const shared = new Interner<Local>()
  const channels = new Channels(system.channel ?? 'fifo')
  const sharedBox = new Mailbox(channels, system.mailbox ?? defaultMailbox)
  const members = new Map<string, Member>()
  for (const [index, id] of ids.entries()) {
    const part = system.actors[id] as Part
    members.set(id, {
      id,
      part,
      stepper: (options.stepper ?? createStepper)(part.model.machine),
      locals: symmetric.includes(id) ? shared : new Interner<Local>(),
      component: firstMember + 2 * index,
      mailbox: firstMember + 2 * index + 1,
      box: symmetric.includes(id) ? sharedBox : new Mailbox(channels, part.mailbox ?? system.mailbox ?? defaultMailbox),
      process: index,
    })
  }
  const wires = ids.flatMap((holder) =>
    Object.entries((system.actors[holder] as Part).grants ?? {}).map(
      ([slot, { to, limits = {}, reason = slot }]): Wire => ({ holder, slot, target: to, limits, reason }),
    ),
  )
  const groups: Group[] = [{ name: 'fault', fair: 'none' }]
  const groupNumbers = new Map<string, number>()
  const composition: Composition = {
    members,
    channels,
    capabilities: createCapabilityStates(wires),
    requests: new Interner(),
    groups,
    deadlines: system.faults?.deadlines === true,
    instances: system.instances ?? null,
    keep: (member, local) => member.locals.add(keyOf(member.part.model, local), () => local),
    group(member, source, certain) {
      const name = `${member.id}: ${source}`
      const known = groupNumbers.get(name)
      if (known !== undefined) return known
      const said = member.part.model.fairness?.[source]
      const fair = said ?? (certain && !source.startsWith('stimulus') ? 'weak' : 'none')
      const number = groups.push({ name, fair }) - 1
      groupNumbers.set(name, number)
      return number
    },
  }
  const faults = new Interner<FaultState>()
  const fault = (state: FaultState): number => faults.add(JSON.stringify(state), () => state)
  const components: Component[] = [
    { name: 'capabilities', size: composition.capabilities.size, value: composition.capabilities.value },
    { name: 'faults', size: () => faults.size, value: (id) => faults.get(id) },
  ]
  for (const member of members.values()) {
    components.push({ name: member.id, size: () => member.locals.size, value: (id) => member.locals.get(id) })
    const { box } = member
    components.push({ name: `${member.id} mailbox`, size: () => box.contents.size, value: (id) => box.shown(id) })
  }
  const initial = start(composition, fault({ crashes: 0, revoked: [] }))
  const rules: Rule[] = [...members.values()].map((member) => memberRule(composition, member))
  rules.push(...faultRules(composition, system, faults, fault))
  const mailboxes = new Map([...members.values()].map((member) => [member.mailbox, member]))
  return {
    name: system.system,
    components,
    initial: [initial],
    rules,
    groups,
    processes: [...ids, 'fault'],
    next: (component, id, op) => (mailboxes.get(component) as Member).box.apply(id, op),
    ...propertiesOf(system, members),
    faulty: (system.faults?.crashes?.times ?? 0) > 0 || Object.keys(system.faults?.revocations ?? {}).length > 0,
    locality: {
      fifo: (system.channel ?? 'fifo') === 'fifo',
      ownerOf: components.map((_, index) => (index < firstMember ? null : Math.floor((index - firstMember) / 2))),
      mailboxOf: ids.map((id) => (members.get(id) as Member).mailbox),
    },
    ...(symmetric.length > 1 ? { symmetry: systemSymmetry(composition, symmetric) } : {}),
  }
}

/** The first state: every machine has started, and what it sent on starting waits. */
function start(composition: Composition, faults: number): number[] {
  let { initial: state } = composition.capabilities
  const vector: number[] = [state, faults]
  for (const member of composition.members.values()) vector[member.mailbox] = member.box.content([])
  for (const member of composition.members.values()) {
    const step = member.stepper.initial(member.part.model.input)
    const { next, out } = absorb(emptyLocal(step), step, null)
    const outbox = new Outbox(composition, member, next, state, [])
    outbox.perform(out)
    state = outbox.state
    vector[member.component] = composition.keep(member, outbox.local)
    for (const { component, op } of outbox.operations) {
      const { box } = [...composition.members.values()].find(({ mailbox }) => mailbox === component) as Member
      vector[component] = box.apply(vector[component] as number, op)
    }
  }
  vector[capabilitiesAt] = state
  return vector
}

/** What is handed over, and what comes of it where that does not depend on what else waits. */
type Handed = { delivery: Delivery | null; outcome: Outcome | null }

function memberRule(composition: Composition, member: Member): Rule {
  const { model } = member.part
  // A step comes up again where other actors' doings are around it.
  const stepped = composition.members.size > 1 ? new Map<string, ReturnType<typeof take>>() : null
  const step = (key: string, move: { event: Event; before: Local }) => {
    const known = stepped?.get(key)
    if (known) return known
    const result = take(member.stepper, move)
    stepped?.set(key, result)
    return result
  }
  const moves: Move[][] = []
  /** Outcomes that depend on nothing that waits: by local state, capability tables and move; by local state, item and capability tables. */
  const taken: (Outcome | undefined)[][][] = []
  const handed: Handed[][][] = []
  const handOver = (id: number, local: Local, state: number, { item, id: number }: { item: Item; id: number }): Handed =>
    (((handed[id] ??= [])[number] ??= [])[state] ??= {
      delivery: deliveries(composition, member, local, state, item, number),
      outcome: null,
    })

  function finish(
    state: number,
    after: number,
    move: Pick<Move, 'event' | 'before' | 'label' | 'gaveUp'>,
    key: string,
    group: number,
    more?: (outbox: Outbox) => void,
  ): { outcome: Outcome; plain: boolean } {
    const { next, out, handled, problem } = step(key, move)
    // What a step sends depends on what waits only where the actor gives something up.
    const plain = !more && !out.some(({ type }) => type === 'cancel')
    const waiting = member.box.shown(after)
    const outbox = new Outbox(composition, member, next, state, waiting)
    const dead = problem?.kind === 'crash'
    if (!dead) {
      outbox.perform(out)
      more?.(outbox)
      if (!handled) outbox.ignored(move.event)
    }
    const untaken = !handled && 'from' in move.event && model.takes?.(move.before) === true
    const broken = problem ?? (untaken ? { kind: 'steps' as const, property: taking } : brokenStep(model.steps, move, next, out))
    const writes = [member.component, composition.keep(member, outbox.local)]
    if (outbox.state !== state) writes.push(capabilitiesAt, outbox.state)
    const outcome: Outcome = {
      info: {
        actor: member.id,
        label: move.label,
        event: move.event,
        value: dead ? '(threw)' : next.value,
        sent: outbox.sent,
        ...(handled ? {} : { ignored: true as const }),
        ...(move.gaveUp ? { fault: { do: 'deadline' as const } } : {}),
      },
      group,
      writes: dead ? [] : writes,
      operations: dead ? [] : outbox.operations,
      ...(broken ? { problem: broken } : {}),
      ...(dead ? { dead: true as const } : {}),
    }
    return { outcome, plain }
  }

  return {
    name: member.id,
    reads: [capabilitiesAt, member.component, member.mailbox],
    process: member.process,
    expand(state, id, content) {
      const local = member.locals.get(id as number)
      const own = (moves[id as number] ??= movesOf(
        model,
        local,
        (pending) => pending.what === 'request' && pending.target !== undefined,
        composition.deadlines,
      ))
      const waiting = member.box.shown(content as number)
      const outcomes: Outcome[] = []
      const known = ((taken[id as number] ??= [])[state as number] ??= [])
      for (const [index, move] of own.entries()) {
        const given = move.gaveUp?.request
        // An answer on its way closed the request: nothing is left to give up.
        if (given !== undefined && isAnswered(waiting, given)) continue
        const before = known[index]
        if (before) {
          outcomes.push(before)
          continue
        }
        const { outcome, plain } = finish(
          state as number,
          content as number,
          move,
          `${id}/${index}`,
          composition.group(member, move.source, move.certain),
          move.gaveUp && ((outbox) => outbox.withdraw(move.gaveUp as NonNullable<Move['gaveUp']>)),
        )
        if (move.extra && changesNothing(outcome, id as number)) continue
        if (plain) known[index] = outcome
        outcomes.push(outcome)
      }
      const deliver = composition.group(member, 'deliver', true)
      for (const next of member.box.deliverable(content as number)) {
        const handing = handOver(id as number, local, state as number, next)
        const { delivery } = handing
        if (delivery === null) {
          // Nobody waits for it any more.
          outcomes.push({
            info: { actor: member.id, label: `drops ${next.item.what}` },
            group: deliver,
            writes: [member.mailbox, next.rest],
            operations: [],
          })
          continue
        }
        if (delivery.refused) {
          const outbox = new Outbox(composition, member, local, state as number, [])
          outbox.refuse(next.item, delivery.refused)
          outcomes.push({
            info: { actor: member.id, label: `refused at delivery: ${delivery.refused.code}`, sent: outbox.sent },
            group: deliver,
            writes: [member.mailbox, next.rest],
            operations: outbox.operations,
          })
          continue
        }
        const found =
          handing.outcome === null
            ? finish(delivery.state, next.rest, delivery.move, `${id}<${delivery.key}`, deliver)
            : { outcome: handing.outcome, plain: true }
        if (found.plain) handing.outcome = found.outcome
        const writes: number[] = []
        if (next.rest !== content && !found.outcome.dead) writes.push(member.mailbox, next.rest)
        if (delivery.state !== state && !found.outcome.writes.some((component, i) => i % 2 === 0 && component === capabilitiesAt))
          writes.push(capabilitiesAt, delivery.state)
        const outcome = writes.length === 0 ? found.outcome : { ...found.outcome, writes: [...found.outcome.writes, ...writes] }
        // A message the machine does not take stays in a bag or set: it is not a step.
        if (!(composition.channels.keeps && isIdle(outcome, id as number, next.rest === content))) outcomes.push(outcome)
      }
      return outcomes
    },
  }

  function isIdle(outcome: Outcome, id: number, stays: boolean): boolean {
    return stays && outcome.info.ignored === true && changesNothing(outcome, id)
  }

  function changesNothing({ writes, operations, problem }: Outcome, id: number): boolean {
    return writes.length === 2 && writes[1] === id && operations.length === 0 && !problem
  }
}

const isAnswered = (waiting: readonly Item[], request: number): boolean =>
  waiting.some((item) => (item.what === 'replied' || item.what === 'refused') && item.request === request)

function brokenStep(
  steps: Part['model']['steps'],
  move: { event: Event; before: Local },
  next: Local,
  out: Parameters<NonNullable<Part['model']['steps']>[string]>[3],
): Outcome['problem'] | null {
  for (const [property, holds] of Object.entries(steps ?? {}))
    if (!holds(move.before, move.event, next, out)) return { kind: 'steps', property }
  return null
}

function faultRules(
  composition: Composition,
  system: SystemModel,
  faults: Interner<FaultState>,
  fault: (state: FaultState) => number,
): Rule[] {
  const process = composition.members.size
  const rules: Rule[] = []
  const { crashes, revocations } = system.faults ?? {}
  for (const id of crashes?.of ?? []) {
    const member = composition.members.get(id)
    if (!member) throw new Error(`${system.system}: ${id} is to crash but is no actor of it.`)
    rules.push({
      name: `crash of ${id}`,
      reads: [faultsAt, capabilitiesAt, member.component, member.mailbox],
      process,
      expand(happened, state, local, content) {
        const before = faults.get(happened as number)
        if (before.crashes >= (crashes?.times ?? 0)) return []
        const old = member.locals.get(local as number)
        const step = member.stepper.initial(member.part.model.input)
        const fresh = absorb(
          { ...emptyLocal(step), sent: old.sent, ...(old.generations ? { generations: old.generations } : {}) },
          step,
          null,
        )
        const outbox = new Outbox(composition, member, fresh.next, state as number, [])
        outbox.abandon(old, member.box.shown(content as number))
        outbox.perform(fresh.out)
        const kept = member.box.apply(content as number, composition.channels.forget())
        const writes = [
          faultsAt,
          fault({ ...before, crashes: before.crashes + 1 }),
          member.component,
          composition.keep(member, outbox.local),
          member.mailbox,
          kept,
        ]
        if (outbox.state !== state) writes.push(capabilitiesAt, outbox.state)
        return [
          {
            info: {
              actor: 'fault',
              label: `${id} crashes and is restarted`,
              value: fresh.next.value,
              sent: outbox.sent,
              fault: { do: 'crash', actor: id },
            },
            group: 0,
            writes,
            operations: outbox.operations,
          },
        ]
      },
    })
  }
  for (const [name, { holder, slot }] of Object.entries(revocations ?? {}))
    rules.push({
      name: `revoke ${name}`,
      reads: [faultsAt, capabilitiesAt],
      process,
      expand(happened, state) {
        const before = faults.get(happened as number)
        if (before.revoked.includes(name)) return []
        const after = composition.capabilities.revoke(state as number, holder, slot)
        if (after === null) return []
        const revoked = [...before.revoked, name].toSorted()
        return [
          {
            info: { actor: 'fault', label: `${name} is revoked`, fault: { do: 'revoke', name, holder, slot } },
            group: 0,
            writes: [faultsAt, fault({ ...before, revoked }), capabilitiesAt, after],
            operations: [],
          },
        ]
      },
    })
  return rules
}

type Properties = Pick<Product, 'properties' | 'temporal' | 'stepProperties' | 'transitions' | 'mayEnd'>

function propertiesOf(system: SystemModel, members: ReadonlyMap<string, Member>): Properties {
  const single = members.size === 1
  const places = new Map([...members.values()].map(({ id, component, mailbox }) => [id, { component, mailbox }]))
  const place = (id: string): { component: number; mailbox: number } => {
    const found = places.get(id)
    if (!found) throw new Error(`${system.system} has no actor ${id}.`)
    return found
  }
  /** One view that is pointed at states; making one for each would cost more than asking. */
  const createView = (): { point(states: States): SystemView } => {
    let at: States | null = null
    const view: SystemView = {
      actor: (id) => (at as States).at(place(id).component) as Local,
      waiting: (id) => (at as States).at(place(id).mailbox) as readonly Item[],
      get capabilities() {
        return (at as States).at(capabilitiesAt)
      },
      get faults() {
        return (at as States).at(faultsAt) as FaultState
      },
    }
    return {
      point(states) {
        at = states
        return view
      },
    }
  }
  const [first, second] = [createView(), createView()]
  const properties: StateProperty[] = []
  const temporal: TemporalProperty[] = []
  const stepProperties: string[] = []
  for (const { id, part, component } of members.values()) {
    const { model } = part
    const named = (name: string): string => (single ? name : `${id}: ${name}`)
    const ask = (holds: (view: Local) => boolean) => (states: States) => holds(states.at(component) as Local)
    for (const kind of ['always', 'sometimes'] as const) {
      // What one actor reaches alone need not be reached in this company.
      if (kind === 'sometimes' && !single) continue
      for (const [name, holds] of Object.entries(model[kind]))
        properties.push({ name: named(name), kind, holds: ask(holds), local: component })
    }
    if (single) {
      for (const kind of ['eventually', 'possible'] as const)
        for (const [name, holds] of Object.entries(model[kind] ?? {})) temporal.push({ name, kind, holds: ask(holds) })
      for (const [name, { from, to }] of Object.entries(model.leadsTo ?? {}))
        temporal.push({ name, kind: 'leadsTo', from: ask(from), to: ask(to) })
    }
    stepProperties.push(...Object.keys(model.steps ?? {}), ...(model.takes ? [named(taking)] : []))
  }
  const lifted = (holds: (view: SystemView) => boolean) => (states: States) => holds(first.point(states))
  const transitions = Object.entries(system.steps ?? {}).map(([name, holds]) => ({
    name,
    holds: (before: States, step: StepInfo, after: States) => holds(first.point(before), step, second.point(after)),
  }))
  stepProperties.push(...Object.keys(system.steps ?? {}))
  for (const kind of ['always', 'sometimes'] as const)
    for (const [name, holds] of Object.entries(system[kind] ?? {})) properties.push({ name, kind, holds: lifted(holds) })
  for (const kind of ['eventually', 'possible'] as const)
    for (const [name, holds] of Object.entries(system[kind] ?? {})) temporal.push({ name, kind, holds: lifted(holds) })
  for (const [name, { from, to }] of Object.entries(system.leadsTo ?? {}))
    temporal.push({ name, kind: 'leadsTo', from: lifted(from), to: lifted(to) })
  const { mayEnd } = system
  if (mayEnd === true) return { properties, temporal, stepProperties, transitions }
  const quiet = (view: SystemView): boolean =>
    [...members.values()].every(({ id, part }) => {
      const local = view.actor(id)
      return view.waiting(id).length === 0 && (part.model.mayEnd ? part.model.mayEnd(local) : !single && local.open.length === 0)
    })
  return { properties, temporal, stepProperties, transitions, mayEnd: lifted(mayEnd ?? quiet) }
}
