/**
 * Whether the running kernel can be led to what a counterexample shows. The property is asked of the kernel and the machines as they are
 * after each step, so that a mend which leaves the steps possible is seen as well.
 */
import type { StepOnTrace } from './counterexample.ts'
import { createKernelReplay, type Taken } from './kernel-replay.ts'
import { type Local, movesOf } from './local.ts'
import type { Model } from './model.ts'
import { alone, type Part, type SystemModel, type SystemView, taking } from './system.ts'
import type { ViolationKind } from './trace.ts'

/** `steps`: how far it went. */
export type Went = { broken: boolean; steps: number; text: string }
type Question = { kind: ViolationKind; property: string }

/** @param cycle the step from which the way repeats for ever */
export async function replayInKernel(
  subject: Model | SystemModel,
  question: Question,
  way: readonly StepOnTrace[],
  cycle = way.length,
): Promise<Went> {
  const replay = await createKernelReplay(subject, way)
  const system = 'system' in subject ? subject : alone(subject)
  const asked = new Asking(system, question)
  const fairness = new Fairness(system)
  const went = (broken: boolean, steps: number, why: string): Went => ({
    broken,
    steps,
    text: `${question.kind} "${question.property}": ${why} (${steps} of ${way.length} steps)`,
  })
  try {
    let view = replay.view()
    if (asked.state(view)) return went(true, 0, 'the running kernel starts in a state that breaks it')
    for (const [at, step] of way.entries()) {
      if (at >= cycle) fairness.passes(view, step)
      const taken = await replay.step(step)
      if (typeof taken === 'string') return went(false, at, `the running kernel does not go there: ${taken}`)
      if (asked.step(view, taken)) return went(true, at + 1, `the running kernel takes a step that breaks it: ${step.label}`)
      ;({ view } = taken)
      if (asked.state(view))
        return went(true, at + 1, `the running kernel is in a state that breaks it: ${JSON.stringify(taken.info.value)}`)
      if (taken.stepped && JSON.stringify(taken.info.value) !== JSON.stringify(step.value))
        return went(false, at + 1, `the machine is in ${JSON.stringify(taken.info.value)}, not in ${JSON.stringify(step.value)}`)
    }
    if (cycle === way.length) fairness.passes(view, null)
    const neglected = fairness.neglected()
    if (asked.due(view) && neglected !== null)
      return went(false, way.length, `it cannot go on so for ever: ${neglected} is certain to come`)
    return asked.end(view, fairness)
      ? went(true, way.length, 'the running kernel went the whole way')
      : went(false, way.length, 'nothing was broken')
  } finally {
    await replay.stop()
  }
}

/** What breaks the property: a state, a step, or the way as a whole. */
class Asking {
  readonly #system: SystemModel
  readonly #question: Question
  /** Of `eventually` and `leadsTo`: whether what must come is due, and has not come. */
  #due: boolean

  constructor(system: SystemModel, question: Question) {
    this.#system = system
    this.#question = question
    this.#due = question.kind !== 'leadsTo'
  }

  /** The property as the system, or one of its actors, has it. Names of actors' properties begin with theirs where there are several. */
  #find<T>(
    of: (from: SystemModel | Model) => Readonly<Record<string, T>> | undefined,
    actor?: string,
  ): { actor: string | null; found: T } | null {
    const { property } = this.#question
    const own = of(this.#system)?.[property]
    if (own !== undefined) return { actor: null, found: own }
    for (const [id, { model }] of Object.entries(this.#system.actors)) {
      if (actor !== undefined && id !== actor) continue
      const name = property.startsWith(`${id}: `) ? property.slice(id.length + 2) : property
      const found = of(model)?.[name]
      if (found !== undefined) return { actor: id, found }
    }
    return null
  }

  #holds(name: 'always' | 'eventually' | 'possible', view: SystemView): boolean {
    const property = this.#find((from) => from[name] as Readonly<Record<string, (view: unknown) => boolean>> | undefined)
    if (!property) throw new Error(`There is no property "${this.#question.property}" any more.`)
    return property.found(property.actor === null ? view : view.actor(property.actor))
  }

  state(view: SystemView): boolean {
    const { kind } = this.#question
    if (kind === 'always') return !this.#holds('always', view)
    if (kind === 'eventually') this.#due &&= !this.#holds('eventually', view)
    if (kind === 'leadsTo') {
      type Pair = { from(view: unknown): boolean; to(view: unknown): boolean }
      const property = this.#find((from) => from.leadsTo as Readonly<Record<string, Pair>> | undefined)
      if (!property) throw new Error(`There is no property "${this.#question.property}" any more.`)
      const { actor, found } = property
      const at = actor === null ? view : view.actor(actor)
      this.#due = (this.#due || found.from(at)) && !found.to(at)
    }
    return false
  }

  step(before: SystemView, { info, before: local, stepped, view: after }: Taken): boolean {
    const { kind, property } = this.#question
    if (kind === 'crash') return info.value === '(threw)'
    if (kind === 'answers') return stepped?.problem?.kind === 'answers'
    if (kind !== 'steps') return false
    const whole = this.#system.steps?.[property]
    if (whole) return !whole(before, info, after)
    if (!local || !stepped || !info.event) return false
    const model = this.#system.actors[info.actor]?.model
    if (property.endsWith(taking)) return !stepped.handled && 'from' in info.event && model?.takes?.(local) === true
    const own = model?.steps?.[property]
    return own ? !own(local, info.event, after.actor(info.actor), stepped.out) : false
  }

  /** Something was to come, and has not. */
  due(view: SystemView): boolean {
    const { kind } = this.#question
    return (kind === 'eventually' || kind === 'leadsTo') && this.#due && !this.state(view)
  }

  /** At the end of the whole way. That no way at all leads to what must stay possible is not asked again: only the search can know. */
  end(view: SystemView, fairness: Fairness): boolean {
    const { kind } = this.#question
    if (kind === 'possible') return !this.#holds('possible', view)
    return kind === 'deadlock' ? fairness.stuck(view) : this.due(view)
  }
}

/** What could happen on the part of a way that repeats, and does: a way on which something is certain to happen and never does is none. */
class Fairness {
  readonly #system: SystemModel
  readonly #taken = new Set<string>()
  #always: Set<string> | null = null
  readonly #sometimes = new Set<string>()

  constructor(system: SystemModel) {
    this.#system = system
  }

  passes(view: SystemView, step: StepOnTrace | null): void {
    const now = new Set<string>()
    for (const { name, fair, label, actor } of this.#enabled(view)) {
      if (fair === 'weak') now.add(name)
      if (fair === 'strong') this.#sometimes.add(name)
      if (step?.actor === actor && step.label === label) this.#taken.add(name)
    }
    if (step && 'from' in (step.event ?? {})) this.#taken.add(`${step.actor}: deliver`)
    this.#always = this.#always?.intersection(now) ?? now
  }

  /** What is certain to happen and does not. */
  neglected(): string | null {
    return [...(this.#always ?? []), ...this.#sometimes].find((name) => !this.#taken.has(name)) ?? null
  }

  /** Nothing can happen, and no end was meant. */
  stuck(view: SystemView): boolean {
    const { mayEnd, actors } = this.#system
    if (mayEnd === true || mayEnd?.(view) || this.#enabled(view).length > 0) return false
    const single = Object.keys(actors).length === 1
    const quiet = ([id, { model }]: [string, Part]): boolean => {
      const local = view.actor(id)
      return model.mayEnd ? model.mayEnd(local) : !single && local.open.length === 0
    }
    return mayEnd !== undefined || !Object.entries(actors).every(quiet)
  }

  #enabled(view: SystemView): { name: string; fair: 'none' | 'weak' | 'strong'; label: string | null; actor: string }[] {
    return Object.entries(this.#system.actors).flatMap(([actor, { model }]) => {
      const moves = movesOf(model, view.actor(actor) as Local, ({ what, ...item }) => what === 'request' && 'target' in item, false)
      const fairOf = (source: string, certain: boolean) =>
        model.fairness?.[source] ?? (certain && !source.startsWith('stimulus') ? 'weak' : 'none')
      return [
        // What is projected away and changes nothing is no step of the model either.
        ...moves
          .filter(({ extra }) => !extra)
          .map(({ source, certain, label }) => ({ actor, label, name: `${actor}: ${source}`, fair: fairOf(source, certain) })),
        ...view.waiting(actor).map(() => ({ actor, label: null, name: `${actor}: deliver`, fair: fairOf('deliver', true) })),
      ]
    })
  }
}
