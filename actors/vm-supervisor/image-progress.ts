/** What an image build tells of itself, from what its tools print and write. Pure: whoever runs the tools asks. */

export type ImageProgress = {
  step: 'wait' | 'download' | 'root' | 'kernel' | 'finish'
  /** One line for a member. */
  detail: string
  /** Of what `detail` names, 0 to 1, where known. */
  fraction?: number
}

/** `line`: of apt's status descriptor; null when it is about something else. */
export function downloadProgress(detail: string, line: string): ImageProgress | null {
  const percent = /^dlstatus:[^:]*:([0-9.]+):/.exec(line)?.[1]
  return percent === undefined ? null : { step: 'download', detail, fraction: Math.min(1, Number(percent) / 100) }
}

/** `line`: of mmdebstrap, or of dpkg within it; null when it says nothing of how far it is. */
export function unpackProgress(line: string): ImageProgress | null {
  const phase = /^I: ((?:downloading|extracting|installing|creating) .*?)\.*$/.exec(line)?.[1]
  const part = /^((?:Unpacking|Setting up) [a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)? \(/.exec(line)?.[1]
  const said = phase ?? part
  return said === undefined ? null : { step: 'root', detail: `${said[0]?.toUpperCase()}${said.slice(1)}` }
}

export function grownProgress(detail: string, bytes: number): ImageProgress {
  return { step: 'root', detail: `${detail}: ${Math.floor(bytes / 1024 ** 2)} MiB` }
}

export function progressText({ detail, fraction }: ImageProgress): string {
  return fraction === undefined ? detail : `${detail} (${Math.round(fraction * 100)} %)`
}

/** Steps of which each begins after those before it; the kernel is made beside the root. */
const order: readonly ImageProgress['step'][][] = [['wait'], ['download'], ['root', 'kernel'], ['finish']]

/** What a build from nothing told that cannot be, in words; empty where it told the truth as far as its order shows. */
export function untruths(told: readonly ImageProgress[]): string[] {
  const wrong: string[] = []
  let reached = 0
  const fractions = new Map<string, number>()
  for (const { step, detail, fraction } of told) {
    const at = order.findIndex((steps) => steps.includes(step))
    if (at < reached) wrong.push(`${step} (${detail}) after ${order[reached]?.join(' and ')}`)
    reached = Math.max(reached, at)
    if (fraction === undefined) continue
    const before = fractions.get(`${step} ${detail}`) ?? 0
    if (fraction < before || fraction > 1) wrong.push(`${step} (${detail}) from ${before} to ${fraction}`)
    fractions.set(`${step} ${detail}`, fraction)
  }
  for (const [what, fraction] of fractions) if (fraction < 1) wrong.push(`${what} ended at ${fraction}`)
  for (const step of ['download', 'root', 'kernel', 'finish'] as const)
    if (!told.some((one) => one.step === step)) wrong.push(`nothing of ${step}`)
  return wrong
}
