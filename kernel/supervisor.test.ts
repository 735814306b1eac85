import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPairedStepper } from './testing/paired-stepper.ts'
import { type ChildKind, type Group, type GroupEvent, type GroupSpec, machine, type Strategy } from './supervisor.ts'

/** A world for the machine: it starts and ends what it is told to, and keeps the order. */
function world(strategy: Strategy, kinds: readonly ChildKind[], limit = { intensity: 1, periodMs: 5000 }) {
  const children = kinds.map((restart, index) => ({ id: 'abcdef'[index] as string, restart }))
  const spec: GroupSpec = { strategy, ...limit, children }
  const stepper = createPairedStepper(machine)
  let { snapshot } = stepper.initial(spec)
  const did: string[] = []
  const pending: GroupEvent[] = []
  let timer: GroupEvent | null = null
  let now = 0

  function send(event: GroupEvent): void {
    const step = stepper.step(snapshot, event)
    snapshot = step.snapshot
    for (const command of step.commands) {
      if (command.do === 'timer') timer = command.event as GroupEvent
      else if (command.do === 'dropTimer') timer = null
      else if (command.do === 'effect' && command.name === 'launch') {
        const id = String(command.params['id'])
        did.push(`+${id}`)
        pending.push({ type: 'launched', id })
      } else if (command.do === 'effect' && command.name === 'terminate') {
        const id = String(command.params['id'])
        did.push(`-${id}`)
        pending.push({ type: 'exited', id, clean: true, at: now, jitter: 0.5 })
      }
    }
  }
  return {
    did,
    send,
    get context() {
      return snapshot.context as Group
    },
    get value() {
      return snapshot.value
    },
    get waiting() {
      return timer !== null
    },
    /** Lets everything that was told happen; `pause`: also what waits for its backoff. */
    settle(pause = true): void {
      for (let count = 0; count < 1000; count++) {
        const next = pending.shift()
        if (next) send(next)
        else if (pause && timer) {
          const due = timer
          timer = null
          send(due)
        } else return
      }
      throw new Error('it does not come to rest')
    },
    crash(id: string, at: number, clean = false): void {
      now = at
      // What it was told to do meanwhile has come to nothing.
      for (const [index, event] of [...pending.entries()].toReversed()) if ('id' in event && event.id === id) pending.splice(index, 1)
      did.push(`!${id}`)
      send({ type: 'exited', id, clean, at, jitter: 0.5 })
    },
    states: () => Object.fromEntries((snapshot.context as Group).children.map(({ id, state }) => [id, state])),
  }
}

describe('a group', () => {
  test('starts left to right, each after the one before is up, and stops right to left', () => {
    const it = world('one-for-all', ['permanent', 'transient', 'temporary'])
    it.send({ type: 'start' })
    expect(it.did).toEqual(['+a'])
    it.settle()
    it.send({ type: 'stop' })
    expect(it.did.slice(3)).toEqual(['-c'])
    it.settle()
    expect(it.did).toEqual(['+a', '+b', '+c', '-c', '-b', '-a'])
    expect(it.value).toBe('stopped')
  })

  test.each([
    ['one-for-one', 'a', ['!a', '+a']],
    ['rest-for-one', 'b', ['!b', '-c', '+b', '+c']],
    ['rest-for-one', 'c', ['!c', '+c']],
    ['one-for-all', 'b', ['!b', '-c', '-a', '+a', '+b', '+c']],
  ] as const)('%s: when %s crashes', (strategy, id, expected) => {
    const it = world(strategy, strategy === 'one-for-one' ? ['permanent'] : ['permanent', 'permanent', 'permanent'])
    it.send({ type: 'start' })
    it.settle()
    it.did.length = 0
    it.crash(id, 1000)
    it.settle()
    expect(it.did).toEqual(expected)
    expect(Object.values(it.states())).toEqual(Object.values(it.states()).map(() => 'up'))
  })

  test('transient children come back from a crash only, temporary ones never, nor after others took them down', () => {
    const it = world('one-for-all', ['permanent', 'transient', 'temporary'])
    it.send({ type: 'start' })
    it.settle()
    it.crash('b', 1000, true)
    expect(it.states()).toEqual({ a: 'up', b: 'gone', c: 'up' })
    it.crash('a', 20_000)
    it.settle()
    expect(it.states()).toEqual({ a: 'up', b: 'gone', c: 'gone' })
  })

  test('more restarts than its intensity: degraded, tried again after a pause, and healthy when it stays up', () => {
    const it = world('one-for-one', ['permanent'])
    it.send({ type: 'start' })
    it.settle()
    it.crash('a', 1000)
    it.settle()
    expect(it.context).toMatchObject({ degraded: false })
    it.crash('a', 1500)
    expect([it.context, it.value, it.waiting]).toMatchObject([{ degraded: true, delayMs: 250 }, 'waiting', true])
    it.settle()
    expect(it.context).toMatchObject({ degraded: false, delayMs: 0 })
    expect(it.states()).toEqual({ a: 'up' })
  })

  test('a start that fails is a crash; one that stops while it waits starts nothing more', () => {
    const it = world('rest-for-one', ['permanent', 'permanent'])
    it.send({ type: 'start' })
    it.crash('a', 1000)
    it.crash('a', 1001)
    expect(it.value).toBe('waiting')
    it.send({ type: 'stop' })
    it.settle()
    expect([it.value, it.waiting, it.did.includes('+b')]).toEqual(['stopped', false, false])
  })

  test('one that ends of itself while another is told to: the other is told once', () => {
    const it = world('rest-for-one', ['permanent', 'permanent', 'permanent', 'permanent'])
    it.send({ type: 'start' })
    it.settle()
    it.did.length = 0
    it.crash('b', 0)
    it.crash('c', 0)
    it.settle()
    expect(it.did).toEqual(['!b', '-d', '!c', '+b', '+c', '+d'])
    expect(it.value).toBe('running')
  })

  test('whatever happens in whatever order: it comes to rest, with all up that should be, or all down when stopped', () => {
    const kind = fc.constantFrom<ChildKind>('permanent', 'transient', 'temporary')
    const act = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('crash' as const), which: fc.nat(3), clean: fc.boolean(), gap: fc.nat(4000) }) },
      { weight: 3, arbitrary: fc.constantFrom({ do: 'settle' as const }, { do: 'happen' as const }) },
      { weight: 1, arbitrary: fc.constant({ do: 'stop' as const }) },
    )
    fc.assert(
      fc.property(
        fc.constantFrom<Strategy>('rest-for-one', 'one-for-all'),
        fc.array(kind, { minLength: 1, maxLength: 4 }),
        fc.array(act, { maxLength: 25 }),
        (strategy, kinds, acts) => {
          const it = world(strategy, kinds)
          it.send({ type: 'start' })
          let at = 0
          let stopped = false
          for (const next of acts) {
            if (next.do === 'stop') {
              stopped = true
              it.send({ type: 'stop' })
            } else if (next.do === 'settle') it.settle()
            else if (next.do === 'happen') it.settle(false)
            else {
              at += next.gap
              const id = 'abcdef'[next.which % kinds.length] as string
              // Only what runs can end.
              if (['up', 'starting', 'terminating', 'ending'].includes(it.states()[id] ?? '')) it.crash(id, at, next.clean)
            }
          }
          it.settle()
          const states = it.states()
          for (const [index, child] of it.context.children.entries()) {
            if (stopped) expect(child.state).toBe('gone')
            else if (kinds[index] === 'permanent') expect(child.state).toBe('up')
            else expect(['up', 'gone']).toContain(child.state)
          }
          expect(it.value).toBe(stopped ? 'stopped' : 'running')
          // At most one of each runs at a time, and each is told to end once.
          for (const id of Object.keys(states)) {
            const life = it.did.filter((entry) => entry.endsWith(id))
            for (const [index, entry] of life.entries()) if (!entry.startsWith('!') && index > 0) expect(life[index - 1]).not.toBe(entry)
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})
