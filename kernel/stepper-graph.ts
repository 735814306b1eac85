/**
 * The set algebra of a statechart: which states a transition leaves and enters, and in what order. Follows the SCXML interpreter
 * (https://www.w3.org/TR/scxml/#AlgorithmforSCXMLInterpretation) where xstate 5.33 does, and xstate where the two differ, because the table
 * built from it is held to xstate step by step. Called once per configuration and transition; the results are kept (stepper-table.ts).
 */
import type { AnyStateNode } from 'xstate'

export type Node = AnyStateNode
/** Recorded children by history node id, as xstate keeps them. */
export type History = Readonly<Record<string, readonly Node[]>>
export type Transition = {
  source: Node
  target: readonly Node[] | undefined
  reenter: boolean
}

export const isAtomic = ({ type }: Node): boolean => type === 'atomic' || type === 'final'
const isHistory = ({ type }: Node): boolean => type === 'history'

function childrenOf(node: Node): Node[] {
  return Object.values(node.states).filter((child) => !isHistory(child))
}

/** Ancestors from the parent outwards, up to and without `limit`. */
export function properAncestors(node: Node, limit?: Node): Node[] {
  const ancestors: Node[] = []
  if (limit === node) return ancestors
  for (let at = node.parent; at && at !== limit; at = at.parent) ancestors.push(at)
  return ancestors
}

/** Everything is a descendant of nothing: a transition out of the root has no domain. */
function isDescendant(node: Node, ancestor: Node | undefined): boolean {
  let at = node
  while (at.parent && at.parent !== ancestor) at = at.parent
  return at.parent === ancestor
}

function defaultTargets(history: Node): Node[] {
  const parent = history.parent as Node
  const named = (history.config as { target?: string | readonly string[] }).target
  if (named === undefined) return parent.type === 'parallel' ? [parent] : [...(parent.initial.target ?? [])]
  return [named].flat().map((path) => byPath(parent, path as string))
}

function byPath(from: Node, path: string): Node {
  if (path.startsWith('#')) return from.machine.getStateNodeById(path)
  return path.split('.').reduce<Node>((at, key) => {
    const child = (at.states as Record<string, Node>)[key]
    if (!child) throw new Error(`Child state '${key}' does not exist on '${at.id}'`)
    return child
  }, from)
}

function effectiveTargets(targets: readonly Node[] | undefined, history: History): Node[] {
  const found = new Set<Node>()
  for (const target of targets ?? []) {
    if (!isHistory(target)) found.add(target)
    else for (const node of history[target.id] ?? effectiveTargets(defaultTargets(target), history)) found.add(node)
  }
  return [...found]
}

function domainOf({ source, target, reenter }: Transition, history: History): Node | undefined {
  const targets = effectiveTargets(target, history)
  if (!reenter && targets.every((node) => node === source || isDescendant(node, source))) return source
  const [head, ...tail] = [...targets, source]
  const common = properAncestors(head as Node).find((ancestor) => tail.every((node) => isDescendant(node, ancestor)))
  if (common) return common
  return reenter ? undefined : source.machine.root
}

export function exitSet(transitions: readonly Transition[], active: ReadonlySet<Node>, history: History): Node[] {
  const left = new Set<Node>()
  for (const transition of transitions) {
    if (!transition.target?.length) continue
    const domain = domainOf(transition, history)
    if (transition.reenter && transition.source === domain) left.add(domain)
    for (const node of active) if (isDescendant(node, domain)) left.add(node)
  }
  return [...left]
}

/** Of transitions that would leave the same state, the innermost or else the first stays. */
export function withoutConflicts<T extends Transition>(transitions: readonly T[], active: ReadonlySet<Node>, history: History): T[] {
  if (transitions.length < 2) return [...transitions]
  const kept = new Set<T>()
  for (const one of transitions) {
    const left = new Set(exitSet([one], active, history))
    const rivals = [...kept].filter((other) => exitSet([other], active, history).some((node) => left.has(node)))
    const firstStronger = rivals.findIndex((other) => !isDescendant(one.source, other.source))
    if (firstStronger >= 0) continue
    for (const rival of rivals) kept.delete(rival)
    kept.add(one)
  }
  return [...kept]
}

/** `byDefault`: states entered because they are initial, whose initial transition's actions run. */
export function entrySet(transitions: readonly Transition[], history: History): { entered: Node[]; byDefault: Set<Node> } {
  const entered = new Set<Node>()
  const byDefault = new Set<Node>()

  const enter = (node: Node): void => {
    entered.add(node)
    byDefault.add(node)
  }
  const descend = (node: Node): void => {
    if (isHistory(node)) return recall(node)
    if (node.type === 'compound') {
      const [initial] = node.initial.target as readonly Node[]
      if (!initial) return
      if (!isHistory(initial)) enter(initial)
      descend(initial)
      ascend(properAncestors(initial, node), undefined)
    } else if (node.type === 'parallel')
      for (const child of childrenOf(node))
        if (!hasDescendant(child)) {
          enter(child)
          descend(child)
        }
  }
  const recall = (node: Node): void => {
    const parent = node.parent as Node
    const recorded = history[node.id]
    const targets = recorded ?? defaultTargets(node)
    const isInitial = !recorded && (node.config as { target?: unknown }).target === undefined && parent.type !== 'parallel'
    for (const target of targets) {
      entered.add(target)
      if (isInitial) byDefault.add(parent)
      descend(target)
    }
    for (const target of targets) ascend(properAncestors(target, parent), undefined)
  }
  const ascend = (ancestors: readonly Node[], domain: Node | undefined): void => {
    for (const ancestor of ancestors) {
      if (!domain || isDescendant(ancestor, domain)) entered.add(ancestor)
      if (ancestor.type === 'parallel')
        for (const child of childrenOf(ancestor))
          if (!hasDescendant(child)) {
            entered.add(child)
            descend(child)
          }
    }
  }
  const hasDescendant = (node: Node): boolean => [...entered].some((other) => isDescendant(other, node))

  for (const transition of transitions) {
    const { source, target, reenter } = transition
    const domain = domainOf(transition, history)
    for (const node of target ?? []) {
      if (!isHistory(node) && (source !== node || source !== domain || reenter)) enter(node)
      descend(node)
    }
    for (const node of effectiveTargets(target, history)) {
      const ancestors = properAncestors(node, domain)
      if (domain?.type === 'parallel') ancestors.push(domain)
      ascend(ancestors, !source.parent && reenter ? undefined : domain)
    }
  }
  return { entered: [...entered].toSorted((a, b) => a.order - b.order), byDefault }
}

/** What the history nodes of the states being left will remember; the same object when there are none. */
export function recordHistory(leaving: readonly Node[], active: ReadonlySet<Node>, history: History): History {
  let changed: Record<string, readonly Node[]> | null = null
  for (const node of leaving) {
    for (const child of Object.values(node.states as Record<string, Node>)) {
      if (!isHistory(child)) continue
      changed ??= { ...history }
      changed[child.id] = [...active].filter((other) =>
        child.history === 'deep' ? isAtomic(other) && isDescendant(other, node) : other.parent === node,
      )
    }
  }
  return changed ?? history
}

export function isFinished(active: ReadonlySet<Node>, node: Node): boolean {
  if (node.type === 'compound') return childrenOf(node).some((child) => child.type === 'final' && active.has(child))
  if (node.type === 'parallel') return childrenOf(node).every((child) => isFinished(active, child))
  return node.type === 'final'
}

/** xstate's state value: `'ready'`, `{ working: 'booting' }`. Keys in the order the states were entered. */
export function stateValue(root: Node, active: readonly Node[]): unknown {
  const children = new Map<Node, Node[]>()
  for (const node of active) {
    if (!children.has(node)) children.set(node, [])
    if (!node.parent) continue
    const siblings = children.get(node.parent) ?? []
    siblings.push(node)
    children.set(node.parent, siblings)
  }
  const valueOf = (node: Node): unknown => {
    const inner = children.get(node) ?? []
    if (node.type === 'compound') {
      const [child] = inner
      if (!child) return {}
      if (isAtomic(child)) return child.key
    }
    return Object.fromEntries(inner.map((child) => [child.key, valueOf(child)]))
  }
  return valueOf(root)
}

/** A state and all below it. */
export function everyNode(node: Node): Node[] {
  return [node, ...Object.values(node.states as Record<string, Node>).flatMap(everyNode)]
}

/** Whether an event type falls under a descriptor: `*`, or a prefix of whole words such as `vm.*`. */
export function matches(type: string, descriptor: string): boolean {
  if (descriptor === '*') return true
  if (!descriptor.endsWith('.*')) return false
  const wanted = descriptor.split('.')
  const words = type.split('.')
  for (const [index, word] of wanted.entries()) {
    if (word === '*') return index === wanted.length - 1
    if (word !== words[index]) return false
  }
  return true
}
