/**
 * Restart decisions, pure. OTP's intensity and period, with one difference: exceeding them does not end the actor for good. It is
 * `degraded`, restarted with growing delays, and probed for ever, because no failure may latch.
 */
import { backoffMs, defaultIntensity, defaultPeriodMs } from './limits.ts'
import type { Manifest } from './types.ts'

export type RestartDecision = { restart: false } | { restart: true; delayMs: number; degraded: boolean }

/**
 * @param crashes epoch ms of earlier crashes, oldest first, this one last
 * @param jitter 0..1, from the caller
 * @param clean the actor ended by itself with success
 */
export function decideRestart(manifest: Manifest, crashes: readonly number[], clean: boolean, jitter: number): RestartDecision {
  const { strategy, intensity = defaultIntensity, periodMs = defaultPeriodMs } = manifest.restart
  if (strategy === 'temporary' || (strategy === 'transient' && clean)) return { restart: false }
  const now = crashes.at(-1) ?? 0
  const recent = crashes.filter((at) => now - at < periodMs).length
  if (recent <= intensity) return { restart: true, delayMs: 0, degraded: false }
  const streak = countStreak(crashes)
  const delayMs = Math.min(backoffMs.first * 2 ** (streak - intensity - 1), backoffMs.last)
  return { restart: true, delayMs: Math.round(delayMs * (0.75 + jitter / 2)), degraded: true }
}

/** Crashes in a row with less than the longest backoff (doubled) between them: a healthy stretch ends the streak. */
function countStreak(crashes: readonly number[]): number {
  let streak = 1
  for (let i = crashes.length - 1; i > 0; i--) {
    if ((crashes[i] as number) - (crashes[i - 1] as number) > 2 * backoffMs.last) break
    streak++
  }
  return streak
}
