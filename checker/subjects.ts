/** What can be checked by name: each actor that has a model, and each system in `systems/`. */
import { existsSync, readdirSync } from 'node:fs'
import type { Model } from './model.ts'
import type { Product } from './product.ts'
import type { SystemModel } from './system.ts'
import { loadReference, type Reference } from './workers/reference.ts'

/** `small`: seconds, in every `npm test`. `full`: minutes, in `npm run check:full`. */
export type Size = 'small' | 'full'
export type Subject = {
  name: string
  kind: 'actor' | 'system'
  /** Where the model is, for threads that load it for themselves. */
  reference(size: Size): Promise<Reference>
  load(size: Size): Promise<Model | SystemModel | Product>
  /** The models of an actor that judge its mutants: those it lists as `judges`, or its `model`. None of a system. */
  models(): Promise<readonly Model[]>
}

const root = new URL('../', import.meta.url)

export function subjects(): Subject[] {
  const actors = readdirSync(new URL('actors/', root)).filter((name) => existsSync(new URL(`actors/${name}/model.ts`, root)))
  const systems = readdirSync(new URL('checker/systems/', root)).flatMap((file) => /^([a-z-]+)\.ts$/.exec(file)?.[1] ?? [])
  return [
    ...actors.map((name) => subject(name, 'actor', async (size) => actorReference(name, size))),
    ...systems.map((name) =>
      subject(name, 'system', (size) =>
        Promise.resolve({ module: new URL(`checker/systems/${name}.ts`, root).href, name: 'system', args: [size] }),
      ),
    ),
  ]
}

function subject(name: string, kind: Subject['kind'], reference: Subject['reference']): Subject {
  return {
    name,
    kind,
    reference,
    load: async (size) => loadReference(await reference(size)),
    models: async () => (kind === 'actor' ? judgesOf((await import(moduleOf(name))) as Judges) : []),
  }
}

type Judges = { model: Model; judges?: readonly Model[] }
const judgesOf = ({ model, judges = [model] }: Judges): readonly Model[] => judges
const moduleOf = (actor: string): string => new URL(`actors/${actor}/model.ts`, root).href

async function actorReference(actor: string, size: Size): Promise<Reference> {
  const module = moduleOf(actor)
  const larger = size === 'full' && 'fullModel' in ((await import(module)) as object)
  return { module, name: larger ? 'fullModel' : 'model' }
}
