/**
 * What a tool is: a schema, and two pure functions. `plan` turns checked input into messages for the gates, `present` turns
 * their answers into the text the model gets. The machine sends the messages and asks for consent in between.
 */
import type { z } from 'zod'
import { type ErrorCode, fault } from '../../../kernel/index.ts'
import type { Fault } from '../../../kernel/index.ts'
import type { Location, Workspace } from '../paths.ts'

/** One message to a gate. `at`: the read capability of a folder, or a slot every conversation has. */
export type Call = {
  at: { folder: string } | { slot: 'egress' | 'workspace' }
  kind: string
  body: Record<string, unknown>
  deadlineMs?: number | null
  /** What a folder answered is a PDF file, and these pages of it are what is wanted: the reader's answer takes the place of the folder's. */
  pages?: { first: number; last?: number }
}

/** What consent is asked for; also what tells one lasting approval from another. */
export type ConsentTarget =
  /** `act`: write when absent. `protected`: the rule, when the path needs an approval of its own. */
  | { kind: 'write'; folder: string; path: string; act?: 'move' | 'delete'; to?: string; protected?: string; mass?: number }
  | { kind: 'exec'; command: string }
  | { kind: 'mcp'; tool: string; input: Record<string, unknown> }

export type Plan =
  /** Needs no more than the conversation may do anyway. `calls` are answered together. */
  | { access: 'read'; title: string; calls: readonly Call[]; file?: Location }
  /**
   * Needs a capability that consent gives. `detail` is shown to the member, after the diff that `preview` answers with.
   * `message` is sent on the capability given.
   */
  | {
      access: 'change'
      title: string
      target: ConsentTarget
      detail: string
      preview?: Call
      message: { kind: string; body: Record<string, unknown>; deadlineMs?: number | null }
      file?: Location
    }

/** `output` is what a command printed, already shortened. */
export type Answer = { body: unknown; output?: string }

/** Shown as it is. `data`: base64. Named as in the Messages API, and so that the message log leaves it out. */
export type Media = { media_type: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp' | 'application/pdf'; data: string }

/** What the model gets. `ok: false` without an error: it ran and reports failure itself, like a command's exit code. */
export type Presented = { text: string; ok: boolean; error?: Fault; media?: readonly Media[] }

export type Tool<Input = unknown> = {
  name: string
  description: string
  input: z.ZodType<Input>
  /** Throws a fault when the input cannot be carried out. */
  plan(input: Input, workspace: Workspace): Plan
  /** `answers`: one a call of the plan, in its order; a change has one. */
  present(input: Input, answers: readonly [Answer, ...Answer[]], workspace: Workspace): Presented
}

/** Keeps the input's type between schema and functions, and forgets it towards the catalog, which checks before it calls. */
export function tool<Input>(definition: Tool<Input>): Tool {
  return definition as unknown as Tool
}

/** The member must not be asked to approve what the folder's mode forbids anyway. The gate refuses it as well. */
export function requireWritable({ folder }: Location, { folders }: Workspace, code: ErrorCode = 'read-only'): void {
  const mode = folders.find(({ name }) => name === folder)?.mode
  if (mode !== 'rw') throw fault(code, `${folder} is connected read-only.`, { rule: `folder ${folder}: mode ${mode ?? 'none'}` })
}
