/** The texts read last, by hash, within a size: what a refused edit is compared with. */
import { limits } from './limits.ts'

export class RecentTexts {
  readonly #texts = new Map<string, string>()
  #size = 0

  remember(sha256: string, text: string): void {
    if (text.length * 2 > limits.rememberedBytes / 4) return
    this.#forget(sha256)
    this.#texts.set(sha256, text)
    this.#size += text.length * 2
    for (const oldest of this.#texts.keys()) {
      if (this.#size <= limits.rememberedBytes) break
      this.#forget(oldest)
    }
  }

  recall(sha256: string): string | null {
    return this.#texts.get(sha256) ?? null
  }

  #forget(sha256: string): void {
    const text = this.#texts.get(sha256)
    if (text === undefined) return
    this.#texts.delete(sha256)
    this.#size -= text.length * 2
  }
}
