/**
 * What every actor keeps, wherever it runs: one suite for inline, thread and process.
 *
 *   it starts, says what it may do, and is denied the rest
 *   its protocol judges messages and changes none: they arrive as they were sent
 *   messages that do not match it are refused, before and after it has worked
 *   each example gets the same answer in every placement, and the answer matches the protocol
 *   its steps can be taken again from the log
 *   told to stop, it stops within its deadline
 *
 * Throws an AssertionError; needs no test runner.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { fault } from '../errors.ts'
import { findJail } from '../jail.ts'
import type { Actor, Fault, Placement, Protocol } from '../types.ts'
import { alters } from '../unaltered.ts'
import { type Script, startTestKernel, type TestKernel } from './test-kernel.ts'

/** A request and its answer; `reply` absent: any that matches the protocol. Sent in order, on one capability. */
export type Example = { kind: string; body: unknown; reply?: unknown }
export type ContractOptions = {
  examples?: readonly Example[]
  /** Given a fresh folder for each placement. Default: `{ data: folder }`. */
  params?: (folder: string) => Record<string, unknown>
  /** Answers of those it holds capabilities to, by kind. Default: refused `not-found`. */
  answers?: Readonly<Record<string, (body: unknown) => unknown>>
  placements?: readonly Placement[]
}

const all = ['inline', 'thread', 'process'] as const

/** @param entry file URL of the folder's `index.ts` */
export async function contract(entry: string, options: ContractOptions = {}): Promise<void> {
  const { actor } = (await import(entry)) as { actor: Actor }
  for (const [kind, { body, reply, part }] of Object.entries(actor.protocol))
    for (const schema of [body, reply, part])
      assert.equal(schema ? alters(schema) : null, null, `"${kind}" of its protocol would change what it judges`)
  const answers: unknown[] = []
  for (const placement of options.placements ?? all) {
    const folder = mkdtempSync(join(tmpdir(), 'bulkhead-contract-'))
    try {
      answers.push(await inPlacement(actor, entry, placement, folder, options))
    } catch (error) {
      throw new Error(`${actor.manifest.kind}, ${placement} placement: ${error instanceof Error ? error.message : JSON.stringify(error)}`, {
        cause: error,
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
  for (const other of answers) assert.deepEqual(other, answers[0], `${actor.manifest.kind} answers differently in different placements`)
}

async function inPlacement(
  actor: Actor,
  entry: string,
  placement: Placement,
  folder: string,
  options: ContractOptions,
): Promise<unknown[]> {
  const { kind } = actor.manifest
  const params = options.params?.(folder) ?? { data: folder }
  // There from the start, whenever the product starts it.
  const { idleMs: _, ...manifest } = actor.manifest
  const it = await startTestKernel({
    actors: [{ manifest: { ...manifest, cardinality: 'singleton' }, protocol: actor.protocol, entry, load: async () => actor }],
    peers: peersOf(actor, options.answers ?? {}),
    placement,
    params: { [kind]: params },
    grants: [{ name: kind, target: kind, limits: {}, reason: 'the contract' }],
  })
  try {
    const live = it.kernel.actors.get(kind)
    assert.equal(live?.state, 'running', `it does not start: ${live?.lastExit ?? ''} ${it.logs.join(' ')}`)
    if (placement === 'process') await deniedAsSaid(it, actor, params)
    await refusesWhatIsNoMessage(it, actor)
    const answers: unknown[] = []
    for (const { kind: asked, body, reply } of options.examples ?? []) {
      const { body: answer } = await it.test.request(kind, asked, body).catch((error: Fault) => {
        throw new Error(`"${asked}" is refused ${error.code}: ${error.message} ${error.cause ?? ''}`)
      })
      if (reply !== undefined) assert.deepEqual(answer, reply, `the answer to "${asked}"`)
      answers.push(answer)
    }
    await refusesWhatIsNoMessage(it, actor)
    assert.equal(live.incarnation, 1, `it ended meanwhile: ${live.lastExit ?? ''}`)
    assert.deepEqual(
      it.logs.filter((line) => line.startsWith(`error ${kind}: step on `) || line.startsWith(`error ${kind}: effect `)),
      [],
      'steps and effects that failed',
    )
    return answers
  } finally {
    const live = it.kernel.actors.get(kind)
    await it.stop()
    // Whatever came first is what is told.
    assert.doesNotMatch(live?.lastExit ?? '', /killed|SIGKILL/, 'it did not stop when it was told to')
  }
}

/** Each may be asked what the grants name. */
function peersOf(
  { manifest }: Actor,
  answers: NonNullable<ContractOptions['answers']>,
): Record<string, { protocol: Protocol; script: Script }> {
  const targets = new Set(manifest.grants.map(({ target }) => target).filter((target) => target !== 'kernel' && target !== manifest.kind))
  return Object.fromEntries(
    [...targets].map((target) => {
      const kinds = manifest.grants.filter((grant) => grant.target === target).flatMap(({ limits }) => limits.kinds ?? [])
      const schema = { body: z.unknown(), part: z.unknown(), reply: z.unknown(), deadlineMs: null }
      const script = (kind: string, body: unknown): unknown => {
        const answer = answers[kind]
        if (!answer) throw fault('not-found', 'Nobody is there in this test.')
        return answer(body)
      }
      return [target, { protocol: Object.fromEntries(kinds.map((kind) => [kind, schema])) satisfies Protocol, script }]
    }),
  )
}

/** What it tried after it was locked down came out as its manifest says. */
async function deniedAsSaid({ kernel }: TestKernel, { manifest }: Actor, params: Record<string, unknown>): Promise<void> {
  const live = kernel.actors.get(manifest.kind)
  const facts: Readonly<Record<string, boolean>> = live?.facts ?? {}
  const { net = false, childProcess = false, wasi = false } = manifest.permissions(params)
  const { signal, host, interfaces, ...tried } = facts
  const { jail = {} } = manifest
  const jailed = !('none' in jail) && 'bwrap' in (await findJail())
  assert.equal(live?.port?.jail === null, jailed, `its jail: ${live?.port?.jail ?? 'there'}`)
  if (jailed)
    assert.deepEqual(
      { signal, host, interfaces: !net && interfaces },
      { signal: false, host: false, interfaces: false },
      'what its jail hides',
    )
  assert.deepEqual(tried, { 'fs.read': false, 'fs.write': false, net, child: childProcess, worker: false, wasi, env: false })
}

async function refusesWhatIsNoMessage({ test }: TestKernel, { manifest, protocol }: Actor): Promise<void> {
  const codes = await Promise.all(
    [...Object.keys(protocol), 'no such kind', 'constructor'].map((kind) =>
      test.request(manifest.kind, kind, { 'a field nobody has': true }, { deadlineMs: 5_000 }).then(
        () => `${kind}: answered`,
        ({ code }: Fault) => `${kind}: ${code}`,
      ),
    ),
  )
  assert.deepEqual(
    codes.filter((line) => !line.endsWith(': malformed')),
    [],
    'what does not match its protocol must be refused (use z.strictObject)',
  )
}
