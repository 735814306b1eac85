/**
 * Partial-order reduction by actor locality. In a state where all an actor can do concerns itself alone, only that actor is let go on:
 * whatever the others do meanwhile, it could have done before.
 *
 * "Concerns itself alone": its steps write nothing but its own state and take at most the head of its own mailbox, where something waits
 * already that nobody can take back (so that what others append comes behind it). A choice that leads nowhere new is not used (search.ts),
 * so that no actor is put off for ever.
 *
 * Kept: deadlocks, and properties of single actors, because each actor still goes through the same states in the same order. Not kept:
 * properties that compare actors or steps of the whole, temporal ones, and which send finds a mailbox full. Crashes and revocations reach
 * into every actor at any moment, so systems that have them are searched in full.
 */
import type { Item } from './channels.ts'
import type { Product } from './product.ts'
import type { Tables } from './tables.ts'

/** Why a product is searched in full all the same, or null. */
export function whyNotReduced({ locality, properties, transitions, faulty }: Product): string | null {
  if (!locality) return 'it is not made of actors'
  if (!locality.fifo) return 'its channels are not first in, first out'
  if (faulty) return 'actors may crash, or capabilities be revoked, at any moment'
  if (properties.some((property) => property.local === undefined)) return 'it has properties that look at several actors'
  if (transitions && transitions.length > 0) return 'it has properties of steps of the whole'
  return null
}

export function ampleChoice(tables: Tables): (ids: Int32Array) => number {
  const { product } = tables
  const { locality } = product
  if (!locality || whyNotReduced(product) !== null) return () => -1
  const { mailboxOf, ownerOf } = locality
  const certain = mailboxOf.map((component) => headsOf(product, component))
  return (ids) => {
    for (const [process, mailbox] of mailboxOf.entries()) {
      if (mailbox === null || !certain[process]?.(ids[mailbox] as number)) continue
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

/** Whether something waits first that stays there until it is handed over: a request may be given up by who asked. */
function headsOf(product: Product, component: number | null): (id: number) => boolean {
  const known: (boolean | undefined)[] = []
  if (component === null) return () => false
  const { value } = product.components[component] as Product['components'][number]
  return (id) => (known[id] ??= stays((value(id) as readonly Item[])[0]))
}

const stays = (item: Item | undefined): boolean => item !== undefined && (item.what !== 'message' || item.request === null)
