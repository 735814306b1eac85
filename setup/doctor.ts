/**
 * `bulkhead doctor`: what this machine has of what Bulkhead needs. Looks only: it installs nothing, starts no daemon, no VM.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { profileOf } from '../guest/image/recipe.ts'
import { findImage } from '../actors/vm-supervisor/image.ts'
import { actorJailCheck, actorMemoryCheck } from './doctor-actors.ts'
import { searchCheck, wayOutCheck } from './doctor-network.ts'
import { folderCheck, kvmCheck, modelCheck, namespaceCheck, spaceCheck } from './doctor-machine.ts'
import { type DoctorCheck, type DoctorReport, info, missing, ok } from './doctor-report.ts'
import { acceleratorCheck, driverCheck, imageAgeCheck, isolationCheck, unverifiedChecks } from './doctor-workspace.ts'
import { lastFailure } from './ensure.js'
import { npmPackagesComplete } from './npm-packages.js'
import { pinnedNode } from './pinned-node.js'
import { checkout, imagePlace, setupPlaces } from './places.js'
import { otherPlatforms, systemPackages } from './requirements.js'
import { readStamp } from './stamp.js'
import { whereShown } from './system-packages.js'

/** Absolute folders of the product; those left out are not looked at. */
export type DoctorPlaces = { home?: string; runtimeDir?: string; imageDir?: string }

export async function doctor(places: DoctorPlaces = {}, env: NodeJS.ProcessEnv = process.env): Promise<DoctorReport> {
  const imageDir = places.imageDir ?? imagePlace(env)
  const workspace = env.BULKHEAD_VM !== 'off'
  const packages = process.platform === 'linux' ? packageChecks(env) : []
  const image = await imageCheck(imageDir)
  const checks: DoctorCheck[] = [
    platformCheck(),
    nodeCheck(),
    npmCheck(),
    ...(workspace ? packages : packages.map(withoutNeed)),
    workspace ? image : withoutNeed(image),
    ...(workspace
      ? failureCheck(env)
      : [info('workspace', 'switched off by BULKHEAD_VM=off', 'Unset BULKHEAD_VM to run commands in the VM.')]),
    kvmCheck(),
    ...(workspace ? await workspaceChecks(imageDir, places.home) : []),
    ...unverifiedChecks(),
    await namespaceCheck(env),
    await actorJailCheck(),
    actorMemoryCheck(),
    ...folderCheck('state folder', places.home),
    ...folderCheck('runtime folder', places.runtimeDir),
    ...(await spaceCheck('space for state', places.home, 0.2)),
    ...(await spaceCheck('space for images', imageDir, image.ok ? 0.2 : 2)),
    modelCheck(env),
    searchCheck(env),
    wayOutCheck(env),
  ]
  return { ok: checks.every((check) => check.ok), checks }
}

/** A missing part of a workspace nobody wants is no fault. */
function withoutNeed(check: DoctorCheck): DoctorCheck {
  return check.ok ? check : info(check.name, `${check.detail}; not needed with BULKHEAD_VM=off`)
}

function platformCheck(): DoctorCheck {
  const platform = `${process.platform} ${process.arch}`
  if (platform === 'linux x64') return ok('platform', platform)
  const other = otherPlatforms[process.platform]
  const remedy = process.platform === 'linux' || other === undefined ? {} : { remedy: other }
  return { name: 'platform', ok: true, level: 'unverified', detail: `${platform}: nobody has tried Bulkhead here yet`, ...remedy }
}

function nodeCheck(): DoctorCheck {
  const node = pinnedNode(checkout)
  if (!node?.present) return missing('node', 'the pinned Node is not installed', 'Run `npm start -- setup`.')
  const manifest = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { optionalDependencies: Record<string, string> }
  const pinned = `v${manifest.optionalDependencies[node.package]}`
  if (process.version !== pinned)
    return missing('node', `this is Node ${process.version}, pinned is ${pinned}`, 'Start it as `npm start` or `bin/bulkhead`.')
  return ok('node', `${pinned} from ${node.package}`)
}

function npmCheck(): DoctorCheck {
  if (npmPackagesComplete(checkout)) return ok('npm packages', 'as in package-lock.json')
  return missing('npm packages', 'not what package-lock.json says', 'Run `npm start -- setup`.')
}

function packageChecks(env: NodeJS.ProcessEnv): DoctorCheck[] {
  return systemPackages().map((wanted) => {
    const path = whereShown(wanted, env)
    if (path !== null) return ok(wanted.name, `${path}: ${wanted.why}`)
    return missing(
      wanted.name,
      `not installed: ${wanted.why}`,
      `Run \`npm start -- setup\`, or as root: apt-get install --no-install-recommends ${wanted.name}`,
    )
  })
}

async function imageCheck(imageDir: string): Promise<DoctorCheck> {
  const name = 'workspace image'
  try {
    const profile = profileOf(process.env['BULKHEAD_IMAGE_PROFILE']) ?? undefined
    const image = await findImage({ imageDir, nodeBinary: pinnedNode(checkout)?.path ?? process.execPath, profile })
    if (image === null) return missing(name, `not built in ${imageDir}`, 'Run `npm start -- setup`; it takes a few minutes.')
    const { distribution, suite, architecture, verified, builtAt, files } = image.manifest
    const mib = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0) / 1024 ** 2
    const about = `${distribution} ${suite} ${architecture}, ${image.manifest.profile}, ${mib.toFixed(0)} MiB, built ${builtAt}, in ${image.dir}`
    return verified ? ok(name, about) : { name, ok: true, level: 'unverified', detail: about }
  } catch (thrown) {
    const cause = typeof thrown === 'object' && thrown !== null && 'message' in thrown ? String(thrown.message) : String(thrown)
    return missing(name, cause, 'Run `npm start -- setup`.')
  }
}

async function workspaceChecks(imageDir: string, home: string | undefined): Promise<DoctorCheck[]> {
  const image = await findImage({
    imageDir,
    nodeBinary: pinnedNode(checkout)?.path ?? process.execPath,
    profile: profileOf(process.env['BULKHEAD_IMAGE_PROFILE']) ?? undefined,
  }).catch(() => null)
  return [
    driverCheck(),
    ...(image === null ? [] : [await acceleratorCheck(image.dir), imageAgeCheck(image.manifest.builtAt, image.dir)]),
    await isolationCheck(home ?? imageDir),
  ]
}

/** Why set-up last gave up on the workspace, while it waits before it tries again. */
function failureCheck(env: NodeJS.ProcessEnv): DoctorCheck[] {
  const { stamp } = setupPlaces(checkout)
  const postponed = existsSync(stamp) ? lastFailure(readStamp(stamp), env) : undefined
  if (!postponed) return []
  const { message, cause, remedy } = postponed.fault
  return [missing('set-up', cause ? `${message} ${cause}` : message, remedy)]
}
