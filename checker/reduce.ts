/**
 * Partial-order reduction by actor locality. In a state where all an actor can do concerns itself alone, only that actor is let go on:
 * whatever the others do meanwhile, it could have done before.
 *
 * "Concerns itself alone": its steps write nothing but its own state and take at most the head of its own mailbox, where something waits
 * already (so that what others append comes behind it). A choice that leads nowhere new is not used (search.ts), so that no actor is put
 * off for ever.
 *
 * Kept: deadlocks, and properties of single actors, because each actor still goes through the same states in the same order. Not kept:
 * properties that compare actors, and temporal ones.
 */
import type { Tables } from './tables.ts'

export function ampleChoice(tables: Tables): (ids: Int32Array) => number {
  const { product } = tables
  const { locality } = product
  if (!locality?.fifo || product.properties.some((property) => property.local === undefined)) return () => -1
  const { mailboxOf, ownerOf } = locality
  const emptyMailbox = mailboxOf.map((component) => (component === null ? null : emptyValue(tables, component)))
  return (ids) => {
    for (const [process, mailbox] of mailboxOf.entries()) {
      if (mailbox === null || ids[mailbox] === emptyMailbox[process]) continue
      let any = false
      let alone = true
      for (const bundle of tables.bundles) {
        if (bundle.process !== process) continue
        for (const { outcome } of tables.allowed(bundle, ids)) {
          any = true
          if (outcome.operations.length > 0 || outcome.problem) alone = false
          for (let i = 0; i < outcome.writes.length; i += 2) {
            if (ownerOf[outcome.writes[i] as number] !== process) alone = false
          }
        }
      }
      if (any && alone) return process
    }
    return -1
  }
}

function emptyValue({ product }: Tables, component: number): number | null {
  const { size, value } = product.components[component] as (typeof product.components)[number]
  for (let id = 0; id < size(); id++) if ((value(id) as readonly unknown[]).length === 0) return id
  return null
}
