import { importsOf, type Import, type SourceFile } from './source-files.ts'

/**
 * The import rules of the repository:
 *
 *   kernel/                nothing from actors/
 *   actors/X/              kernel/index.ts, its own folder, other actors' protocol.ts for types only; what a part of the product
 *                          that is no actor shares with one actor is in `shared`; model.ts imports checker/ as well, and what a
 *                          large one is divided into (`partsOfModels`) checker/model.ts
 *   protocol, machine,     the packages in `pure`; and what they reach in their own folder neither does I/O nor brings
 *   model                  a package that does
 */
const pure: Readonly<Record<string, readonly string[]>> = {
  'protocol.ts': ['zod'],
  'machine.ts': ['xstate'],
  'model.ts': [],
}

/** The link to the guest and the recipe of its image have two ends, one of them outside `actors/`. */
const shared: Readonly<Record<string, readonly string[]>> = { 'vm-supervisor': ['guest/'] }

const partsOfModels = ['model-properties.ts', 'model-world.ts', 'model-waiting.ts']

const kernelEntry = 'kernel/index.ts'
const impurePackages = ['effect', '@anthropic-ai/sdk', '@agentclientprotocol/sdk', '@modelcontextprotocol/client', 'yauzl']
const pureBuiltins = ['node:path', 'node:path/posix']

/** One line per broken rule, like `kernel/host.ts imports actors/egress/index.ts: …`. */
export function brokenRules(files: readonly SourceFile[]): string[] {
  const imports = new Map(files.filter(({ path }) => /\.(ts|js)$/.test(path)).map((file) => [file.path, importsOf(file)]))
  return [...imports].flatMap(([path, list]) => [...kernelRule(path, list), ...actorRule(path, list), ...purityRule(path, list, imports)])
}

function kernelRule(path: string, imports: readonly Import[]): string[] {
  if (!path.startsWith('kernel/')) return []
  return imports.filter(({ target }) => target.startsWith('actors/')).map(({ target }) => broken(path, target, 'the kernel knows no actor'))
}

function actorRule(path: string, imports: readonly Import[]): string[] {
  const [area, actor = ''] = path.split('/')
  if (area !== 'actors' || isTest(path)) return []
  return imports.flatMap(({ target, typeOnly }) => {
    if (!target.includes('/') || !isInRepository(target) || target === kernelEntry || target.startsWith(`actors/${actor}/`)) return []
    if (shared[actor]?.some((folder) => target.startsWith(folder))) return []
    if (path === `actors/${actor}/model.ts` && target.startsWith('checker/')) return []
    if (partsOfModels.some((part) => path === `actors/${actor}/${part}`) && target === 'checker/model.ts') return []
    if (/^actors\/[^/]+\/protocol\.ts$/.test(target))
      return typeOnly ? [] : [broken(path, target, "another actor's protocol is imported as types only")]
    return [broken(path, target, `an actor imports ${kernelEntry}, its own folder, and the protocol types of others`)]
  })
}

function purityRule(path: string, imports: readonly Import[], all: ReadonlyMap<string, readonly Import[]>): string[] {
  const name = path.split('/').at(-1) ?? ''
  const packages = pure[name]
  if (!/^actors\/[^/]+\/[^/]+$/.test(path) || !packages) return []
  const own = imports
    .filter(({ target, typeOnly }) => !typeOnly && !isInRepository(target) && !packages.includes(packageName(target)))
    .map(({ target }) => broken(path, target, `${name} imports ${packages.join(', ') || 'no package'} only`))
  return [...own, ...reachedImpurities(path, all)]
}

/** Files of its own folder that a pure file reaches at run time and that do I/O. */
function reachedImpurities(start: string, all: ReadonlyMap<string, readonly Import[]>): string[] {
  const folder = start.slice(0, start.lastIndexOf('/') + 1)
  const seen = new Set([start])
  const found: string[] = []
  for (const path of seen) {
    for (const { target, typeOnly } of all.get(path) ?? []) {
      if (typeOnly) continue
      if (target.startsWith(folder)) seen.add(target)
      else if (path !== start && isImpure(target)) found.push(`${start} reaches ${broken(path, target, 'what it uses must be pure')}`)
    }
  }
  return found
}

function isImpure(target: string): boolean {
  if (target.startsWith('node:')) return !pureBuiltins.includes(target)
  return !isInRepository(target) && impurePackages.includes(packageName(target))
}

function isInRepository(target: string): boolean {
  return /^(kernel|actors|guest|client|daemon|setup|checker|bench|test)\//.test(target)
}

function packageName(target: string): string {
  return target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : (target.split('/')[0] ?? target)
}

function isTest(path: string): boolean {
  return path.endsWith('.test.ts')
}

function broken(path: string, target: string, rule: string): string {
  return `${path} imports ${target}: ${rule}`
}
