/**
 * A machine as a table: for each configuration (active states and what history remembers) and each event type, the transitions that may
 * fire, and for each set of transitions the operations to run and the configuration that follows. Rows are made when first needed and kept,
 * so that a step is a look-up, the machine's own guard and assign functions, and nothing else.
 *
 * Same config, same functions, same results as xstate's `machine.transition`: stepper.test.ts holds it to that.
 */
import type { AnyStateMachine } from 'xstate'
import { maxMicrosteps } from './limits.ts'
import type { Command, Persisted, Step, Stepper } from './stepper.ts'
import {
  entrySet,
  everyNode,
  exitSet,
  type History,
  isAtomic,
  isFinished,
  matches,
  type Node,
  properAncestors,
  recordHistory,
  stateValue,
  withoutConflicts,
} from './stepper-graph.ts'
import {
  type Candidate,
  type Choice,
  type Configuration,
  type Move,
  none,
  noSelector,
  nothing,
  type Selector,
  TableSnapshot,
} from './stepper-rows.ts'
import {
  Args,
  type Assign,
  assigned,
  assigning,
  commanded,
  computed,
  type Context,
  createVocabulary,
  doneIn,
  type Event,
  Foreign,
  type Operation,
  paramsOf,
  shaped,
} from './stepper-operations.ts'

/** Throws `Foreign` when the machine uses what the dialect lacks; it says what. */
export function createTableStepper(machine: AnyStateMachine): Stepper {
  const root: Node = machine.root
  const vocabulary = createVocabulary(machine)
  const configurations = new Map<string, Configuration>()
  const limit = Math.min(machine.options?.maxIterations ?? maxMicrosteps, maxMicrosteps)
  let nextCandidate = 1

  // Every node's actions and transitions, once; foreign ones are found here and not in the middle of a run.
  const transitionsOf = new Map<Node, Map<string, Candidate[]>>()
  const alwaysOf = new Map<Node, Candidate[]>()
  const entryOf = new Map<Node, Operation[]>()
  const exitOf = new Map<Node, Operation[]>()
  const initialOf = new Map<Node, Operation[]>()
  for (const node of everyNode(root)) {
    if (node.invoke.length > 0) throw new Foreign(`invoke in ${node.id}`)
    // xstate's own bookkeeping of these is incomplete: the parallel state is missing from the active ones after a jump to its history.
    if (node.type === 'history' && node.parent?.type === 'parallel') throw new Foreign(`history of the parallel ${node.parent.id}`)
    if (node.output !== undefined) throw new Foreign(`output of ${node.id}`)
    transitionsOf.set(node, new Map([...node.transitions].map(([type, list]) => [type, list.map((item: object) => candidate(node, item))])))
    alwaysOf.set(
      node,
      (node.always ?? []).map((item: object) => candidate(node, item)),
    )
    entryOf.set(node, node.entry.map(vocabulary.operation))
    exitOf.set(node, node.exit.map(vocabulary.operation))
    initialOf.set(node, (node.initial?.actions ?? []).map(vocabulary.operation))
  }

  function candidate(source: Node, transition: object): Candidate {
    const { guard, target, reenter, actions } = transition as {
      guard?: unknown
      target: readonly Node[] | undefined
      reenter: boolean
      actions: readonly unknown[]
    }
    const alone: Candidate[] = []
    const made: Candidate = {
      id: nextCandidate++,
      guard: guard === undefined ? null : vocabulary.guard(guard),
      source,
      target,
      reenter,
      operations: actions.map(vocabulary.operation),
      alone,
    }
    alone.push(made)
    return made
  }

  function configuration(nodes: readonly Node[], history: History): Configuration {
    const remembered = Object.entries(history).map(([id, list]) => `${id}=${list.map(({ order }) => order).join(',')}`)
    const key = `${nodes.map(({ order }) => order).join(',')};${remembered.toSorted().join(';')}`
    const known = configurations.get(key)
    if (known) return known
    const always = nodes
      .filter(isAtomic)
      .map((node) => [node, ...properAncestors(node)].flatMap((at) => alwaysOf.get(at) ?? []))
      .filter((list) => list.length > 0)
    const made: Configuration = {
      nodes,
      history,
      value: stateValue(root, nodes),
      on: new Map(),
      lastType: null,
      last: noSelector,
      always,
      moves: new Map(),
    }
    configurations.set(key, made)
    return made
  }

  function selector(at: Configuration, type: string): Selector {
    if (type === at.lastType) return at.last
    const known = at.on.get(type)
    if (known) {
      at.lastType = type
      at.last = known
      return known
    }
    const made = select(root, at, type)
    // Event types come from outside; only those the machine knows are worth a row.
    if (made.choices.length > 0 || made.regions.length > 0) at.on.set(type, made)
    return made
  }

  function select(node: Node, at: Configuration, type: string): Selector {
    const own = candidatesFor(node, type).map((one): Choice => ({ candidate: one, move: null }))
    const inner = at.nodes.filter((other) => other.parent === node).map((child) => select(child, at, type))
    const [first] = inner
    // A chain of single children is one list: the innermost that answers wins.
    if (inner.length === 1 && first) return { regions: first.regions, choices: [...first.choices, ...own], sure: null }
    return { regions: inner.filter(({ regions, choices }) => regions.length + choices.length > 0), choices: own, sure: null }
  }

  function candidatesFor(node: Node, type: string): Candidate[] {
    const table = transitionsOf.get(node) ?? new Map<string, Candidate[]>()
    const wild = [...table.keys()]
      .filter((descriptor) => descriptor !== type && matches(type, descriptor))
      .toSorted((a, b) => b.length - a.length)
    return [...(table.get(type) ?? []), ...wild.flatMap((descriptor) => table.get(descriptor) ?? [])]
  }

  function move(at: Configuration, chosen: readonly Candidate[], initial: boolean): Move {
    const key = chosen.length === 1 ? (chosen[0] as Candidate).id : chosen.map(({ id }) => id).join()
    const known = at.moves.get(key)
    if (known) return known
    const active = new Set(at.nodes)
    const transitions = withoutConflicts(chosen, active, at.history)
    const operations: Operation[] = []
    let history = at.history
    if (!initial) {
      const leaving = exitSet(transitions, active, history).toSorted((a, b) => b.order - a.order)
      history = recordHistory(leaving, active, history)
      for (const node of leaving) {
        operations.push(...(exitOf.get(node) ?? []))
        active.delete(node)
      }
    }
    for (const transition of transitions) operations.push(...transition.operations)
    const { entered, byDefault } = entrySet(transitions, history)
    if (initial) byDefault.add(root)
    const finished = new Set<Node>()
    let done = false
    for (const node of entered) {
      active.add(node)
      operations.push(...(entryOf.get(node) ?? []))
      if (byDefault.has(node)) operations.push(...(initialOf.get(node) ?? []))
      if (node.type === 'final') done = finish(node, active, finished, operations) || done
    }
    let nodes = [...active]
    if (done) {
      nodes = nodes.toSorted((a, b) => b.order - a.order)
      for (const node of nodes) operations.push(...(exitOf.get(node) ?? []))
    }
    const same = history === at.history && nodes.length === at.nodes.length && at.nodes.every((node) => active.has(node))
    const next = same ? at : configuration(nodes, history)
    const short =
      !done && next.always.length === 0 && !operations.some((one) => one.do === 'raise' || one.do === 'enqueue' || one.do === 'finish')
    const handles = !same || operations.length > 0
    const quiet = short && handles && operations.every((one) => one.do === 'assign')
    const made: Move = { operations, next, same, done, short, quiet, handles }
    at.moves.set(key, made)
    return made
  }

  /** What entering a final state sets off; true when the whole machine is finished. */
  function finish(node: Node, active: ReadonlySet<Node>, finished: Set<Node>, operations: Operation[]): boolean {
    const { parent } = node
    let ancestor = parent?.type === 'parallel' ? parent : parent?.parent
    if (parent?.type === 'compound') operations.push(doneIn(parent))
    while (ancestor?.type === 'parallel' && !finished.has(ancestor) && isFinished(active, ancestor)) {
      finished.add(ancestor)
      operations.push(doneIn(ancestor))
      ancestor = ancestor.parent
    }
    return !ancestor
  }

  /** The transitions an event sets off; one of them is the very list it is always in. */
  function chosenFor(at: Configuration, context: Context, event: Event): readonly Candidate[] {
    const asked = selector(at, event.type)
    if (asked.regions.length > 0) return choose(asked, context, event, at, [])
    return firstOf(asked.choices, context, event, at)?.candidate.alone ?? none
  }

  function choose({ regions, choices }: Selector, context: Context, event: Event, at: Configuration, into: Candidate[]): Candidate[] {
    const before = into.length
    for (const region of regions) choose(region, context, event, at, into)
    const own = into.length > before ? null : firstOf(choices, context, event, at)
    if (own) into.push(own.candidate)
    return into
  }

  function firstOf(choices: readonly Choice[], context: Context, event: Event, at: Configuration): Choice | null {
    for (let n = 0; n < choices.length; n++) {
      const choice = choices[n] as Choice
      const { guard } = choice.candidate
      if (guard === null || guard(context, event, at)) return choice
    }
    return null
  }

  function chooseAlways(at: Configuration, context: Context, event: Event): readonly Candidate[] {
    const found = new Set<Candidate>()
    for (const list of at.always) {
      const item = list.find(({ guard }) => guard === null || guard(context, event, at))
      if (item) found.add(item)
    }
    return [...found]
  }

  /** One step under way: what it has come to so far. */
  class Running {
    where: Configuration
    now: Context
    current: Event
    /** Made when there is something to put in: most steps raise nothing, and many want nothing. */
    commands: Command[] | null = null
    queue: Event[] | null = null
    done = false
    changed = false
    acted = false
    /** Whether this microstep left a snapshot other than the one it began with, as xstate would see it. */
    moved = false

    constructor(at: Configuration, context: Context, event: Event) {
      this.where = at
      this.now = context
      this.current = event
    }

    apply({ operations, next, same, done }: Move): void {
      this.moved = false
      this.perform(operations)
      if (!same || done) this.moved = true
      this.where = next
      this.done ||= done
      this.changed ||= this.moved
    }

    command(command: Command): void {
      this.acted = true
      if (this.commands) this.commands.push(command)
      else this.commands = [command]
    }

    raise(event: Event): void {
      if (this.queue) this.queue.push(event)
      else this.queue = [event]
    }

    perform(operations: readonly Operation[]): void {
      for (const operation of operations) {
        switch (operation.do) {
          case 'assign':
            this.now = assigned(operation, this.now, this.current)
            this.moved = true
            break
          case 'raise': {
            const args = new Args(this.now, this.current)
            const params = paramsOf(operation, args)
            const raised = computed(operation.what, args, params) as Event
            const delayMs = vocabulary.delay(operation.delay, args, params)
            if (delayMs !== undefined) this.command({ do: 'timer', id: String(operation.id), event: raised, delayMs })
            else this.raise(raised)
            this.acted = true
            break
          }
          case 'enqueue': {
            const args = new Args(this.now, this.current)
            this.perform(collected(operation.what, args, paramsOf(operation, args), this.where))
            break
          }
          case 'finish':
            this.raise(operation.what)
            break
          default:
            this.command(commanded(operation, this.now, this.current))
        }
      }
    }

    /** As xstate does: transitions without an event after every step that changed something, then the events the step raised, in order. */
    settle(): void {
      let mayAlways = true
      for (let count = 1; !this.done; count++) {
        if (count > limit) throw new Error(`more than ${limit} transitions in one step (a cycle of transitions without events?)`)
        const { where } = this
        let chosen: readonly Candidate[] = mayAlways && where.always.length > 0 ? chooseAlways(where, this.now, this.current) : none
        const byItself = chosen.length > 0
        if (!byItself) {
          const raised = this.queue?.shift()
          if (!raised) break
          this.current = raised
          chosen = chosenFor(where, this.now, raised)
        }
        this.moved = false
        if (chosen.length > 0) this.apply(move(where, chosen, false))
        mayAlways = !byItself || this.moved
      }
    }
  }

  /** A whole step of one short move. */
  function runShort({ operations, next }: Move, context: Context, event: Event): Step {
    let now = context
    let commands: Command[] | null = null
    for (let n = 0; n < operations.length; n++) {
      const operation = operations[n] as Operation
      if (operation.do === 'assign') now = assigned(operation, now, event)
      else {
        const command = commanded(operation as Extract<Operation, { do: 'emit' }>, now, event)
        if (commands) commands.push(command)
        else commands = [command]
      }
    }
    return { snapshot: new TableSnapshot(next, now, 'active'), commands: commands ?? nothing, handled: true }
  }

  function run(at: Configuration, context: Context, event: Event, begin: Move | null): Step {
    const running = new Running(at, context, event)
    if (begin) running.apply(begin)
    running.settle()
    const snapshot = new TableSnapshot(running.where, running.now, running.done ? 'done' : 'active')
    return { snapshot, commands: running.commands ?? nothing, handled: running.changed || running.acted }
  }

  function stepAsked(snapshot: TableSnapshot, event: Event, asked: Selector): Step {
    const { at, context } = snapshot
    if (asked.regions.length > 0) {
      const chosen = choose(asked, context, event, at, [])
      return stepFrom(snapshot, event, chosen.length > 0 ? move(at, chosen, false) : null)
    }
    const choice = firstOf(asked.choices, context, event, at)
    if (choice === null) return stepFrom(snapshot, event, null)
    const begin = (choice.move ??= move(at, choice.candidate.alone, false))
    if (begin.quiet && choice.candidate.guard === null && choice === asked.choices[0]) asked.sure = begin
    return begin.short && begin.handles ? runShort(begin, context, event) : stepFrom(snapshot, event, begin)
  }

  function stepFrom(snapshot: TableSnapshot, event: Event, begin: Move | null): Step {
    const { at, context } = snapshot
    // The common case of a message the state ignores: nothing to run.
    if (begin === null && at.always.length === 0) return { snapshot, commands: nothing, handled: false }
    const step = run(at, context, event, begin)
    return step.handled ? step : { snapshot, commands: step.commands, handled: false }
  }

  /** What `enqueueActions` gathers; it runs after the gathering, each on the context the ones before it left. */
  function collected(collect: (args: object, params: unknown) => void, args: Args, params: unknown, where: Configuration): Operation[] {
    const gathered: Operation[] = []
    const foreign = (name: string) => () => {
      throw new Foreign(`enqueue.${name}`)
    }
    const enqueue = Object.assign((action: unknown) => void gathered.push(vocabulary.operation(action)), {
      assign: (assignment: unknown) => void gathered.push(assigning(assignment, undefined)),
      emit: (event: unknown) => void gathered.push(shaped({ do: 'emit', what: event })),
      cancel: (id: unknown) => void gathered.push(shaped({ do: 'cancel', what: id })),
      raise: (event: unknown, options: { id?: unknown; delay?: unknown } = {}) =>
        void gathered.push(shaped({ do: 'raise', what: event }, options)),
      sendTo: foreign('sendTo'),
      sendParent: foreign('sendParent'),
      spawnChild: foreign('spawnChild'),
      stopChild: foreign('stopChild'),
    })
    const check = (guard: unknown): boolean => vocabulary.guard(guard)(args.context, args.event, where)
    collect({ context: args.context, event: args.event, enqueue, check }, params)
    return gathered
  }

  const before = configuration([root], {})
  const start: Candidate = { id: 0, guard: null, source: root, target: initialNodes(root), reenter: true, operations: [], alone: none }

  return {
    engine: 'table',
    initial(input) {
      const event = { type: 'xstate.init', input }
      const { context } = machine.config as { context?: unknown }
      const own: Context = { ...(computed(context, { input, spawn: undefined, self: undefined }) as Context | undefined) }
      return { ...run(before, own, event, move(before, [start], true)), handled: true }
    },
    step(snapshot, event) {
      if (!(snapshot instanceof TableSnapshot)) throw new TypeError('The snapshot is not of this stepper.')
      if (snapshot.status === 'done') return { snapshot, commands: nothing, handled: false }
      return stepAsked(snapshot, event, selector(snapshot.at, event.type))
    },
    stepQuietly(snapshot, event) {
      if (!(snapshot instanceof TableSnapshot) || snapshot.status === 'done') return null
      const { sure } = selector(snapshot.at, event.type)
      if (sure === null) return null
      const { operations, next } = sure
      let now = snapshot.context
      for (let n = 0; n < operations.length; n++) now = assigned(operations[n] as Assign, now, event)
      return new TableSnapshot(next, now, 'active')
    },
    persist(snapshot): Persisted | null {
      if (!(snapshot instanceof TableSnapshot)) throw new TypeError('The snapshot is not of this stepper.')
      const { at, status } = snapshot
      const ids = (nodes: readonly Node[]) => nodes.map(({ id }) => id)
      const history = Object.fromEntries(Object.entries(at.history).map(([id, nodes]) => [id, ids(nodes)]))
      return { nodes: ids(at.nodes), history, context: snapshot.context, status }
    },
    restore({ nodes, history, context, status }) {
      const byId = new Map(everyNode(root).map((node) => [node.id, node]))
      const found = (ids: readonly string[]) =>
        ids.map((id) => {
          const node = byId.get(id)
          if (!node) throw new Error(`The machine has no state ${id}.`)
          return node
        })
      const remembered = Object.fromEntries(Object.entries(history).map(([id, ids]) => [id, found(ids)]))
      return new TableSnapshot(configuration(found(nodes), remembered), context as Context, status)
    },
  }
}

/** The states that are active first, and the ways to them. */
function initialNodes(root: Node): Node[] {
  const found = new Set<Node>()
  const visit = (node: Node): void => {
    if (found.has(node)) return
    found.add(node)
    const [initial] = (node.type === 'compound' ? node.initial.target : undefined) ?? []
    if (initial) visit(initial)
    else if (node.type === 'parallel') for (const child of Object.values(node.states)) if (child.type !== 'history') visit(child)
  }
  visit(root)
  return [...found]
}
