/** How long until what crashed is tried again: OTP's intensity and period decide whether that is at once, a growing pause follows when not. */
import { backoffMs } from './limits.ts'

/** `degraded`: it crashed more often than its intensity allows, and its capability is worth nothing until it stays up. */
export type Pause = { delayMs: number; degraded: boolean }

/**
 * @param crashes epoch ms of crashes, oldest first, this one last
 * @param jitter 0..1, from the caller: those that fell together are not tried together
 */
export function decideRestart(limit: { intensity: number; periodMs: number }, crashes: readonly number[], jitter: number): Pause {
  const now = crashes.at(-1) ?? 0
  const recent = crashes.filter((at) => now - at < limit.periodMs).length
  if (recent <= limit.intensity) return { delayMs: 0, degraded: false }
  const streak = countStreak(crashes)
  const delayMs = Math.min(backoffMs.first * 2 ** Math.max(0, streak - limit.intensity - 1), backoffMs.last)
  return { delayMs: Math.round(delayMs * (0.75 + jitter / 2)), degraded: true }
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
