/** What can be checked by name: each actor that has a model, and each system in `systems/`. */
import { existsSync, readdirSync } from 'node:fs'
import type { Model } from './model.ts'
import type { Product } from './product.ts'
import type { SystemModel } from './system.ts'

/** `small`: seconds, in every `npm test`. `full`: minutes, in `npm run check:full`. */
export type Size = 'small' | 'full'
export type Subject = { name: string; kind: 'actor' | 'system'; load(size: Size): Promise<Model | SystemModel | Product> }

const root = new URL('../', import.meta.url)

export function subjects(): Subject[] {
  const actors = readdirSync(new URL('actors/', root)).filter((name) => existsSync(new URL(`actors/${name}/model.ts`, root)))
  const systems = readdirSync(new URL('checker/systems/', root)).flatMap((file) => /^([a-z-]+)\.ts$/.exec(file)?.[1] ?? [])
  return [
    ...actors.map(
      (name): Subject => ({
        name,
        kind: 'actor',
        async load(size) {
          const found = (await import(new URL(`actors/${name}/model.ts`, root).href)) as { model: Model; fullModel?: Model }
          return size === 'full' ? (found.fullModel ?? found.model) : found.model
        },
      }),
    ),
    ...systems.map(
      (name): Subject => ({
        name,
        kind: 'system',
        load: async (size) =>
          ((await import(new URL(`checker/systems/${name}.ts`, root).href)) as { system(size: Size): SystemModel | Product }).system(size),
      }),
    ),
  ]
}
