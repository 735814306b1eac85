/** A model by where it is: threads cannot be handed functions, so that each loads it for itself. */
import type { Model } from '../model.ts'
import type { Product } from '../product.ts'
import type { SystemModel } from '../system.ts'

export type Reference = {
  /** URL of the module. */
  module: string
  /** What it exports: a model, or a function that makes one. */
  name: string
  /** For the function. */
  args?: readonly unknown[]
}

export async function loadReference({ module, name, args = [] }: Reference): Promise<Model | SystemModel | Product> {
  const found = ((await import(module)) as Record<string, unknown>)[name]
  if (found === undefined) throw new Error(`${module} exports no ${name}.`)
  return (typeof found === 'function' ? (found as (...given: readonly unknown[]) => unknown)(...args) : found) as Model
}
