import { expect, test } from 'vitest'
import { z } from 'zod'
import { alters } from './unaltered.ts'

const within = (part: z.ZodType) => z.strictObject({ some: z.array(z.union([z.null(), z.strictObject({ part: part.optional() })])) })

test.each<[string, z.ZodType, RegExp]>([
  ['a default', z.string().default('x'), /default/],
  ['a prefault', z.string().prefault('x'), /default/],
  ['catch', z.string().catch('x'), /catch/],
  ['a transform', z.string().transform(Number), /pipe|transform/],
  ['preprocessing', z.preprocess(String, z.string()), /pipe|transform/],
  ['a codec', z.codec(z.string(), z.number(), { decode: Number, encode: String }), /codec/],
  ['coercion', z.coerce.number(), /coerce/],
  ['trimming', z.string().trim().min(1), /trim/],
  ['case', z.string().toLowerCase(), /case/],
  ['an object that drops what it does not know', z.object({ a: z.string() }), /strictObject/],
  ['a lazy one', z.lazy(() => z.string().default('x')), /default/],
  ['a record', z.record(z.string(), z.number().default(1)), /default/],
  ['a tuple', z.tuple([z.string(), z.number().default(1)]), /default/],
])('%s is found, also deep inside', (_name, schema, what) => {
  expect(alters(schema)).toMatch(what)
  expect(alters(within(schema))).toMatch(what)
  expect(alters(within(schema))).toContain('body.some.part')
})

test('what only judges is let through, also when it refers to itself', () => {
  type Tree = { left?: Tree | undefined; size: number }
  const tree: z.ZodType<Tree> = z.lazy(() => z.strictObject({ left: tree.optional(), size: z.int().min(0) }))
  for (const schema of [
    tree,
    z.strictObject({ path: z.string().min(1).max(10).regex(/a/), at: z.iso.datetime(), bytes: z.instanceof(Uint8Array) }),
    z.looseObject({ kind: z.literal('x') }).refine(() => true),
    z.discriminatedUnion('t', [z.strictObject({ t: z.literal(1) }), z.strictObject({ t: z.literal(2), more: z.unknown() })]),
    z.record(z.string(), z.enum(['a', 'b']).nullable()),
    z.strictObject({ maybe: z.string().optional(), never: z.undefined() }).readonly(),
  ])
    expect(alters(schema)).toBeNull()
})
